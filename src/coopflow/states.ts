/** Everything that a model keeps between calls: parameters, buffers, Adam's moments and moving averages. */
import { Graph } from "../graph/graph.ts";
import type { Uniforms } from "../nn/initializers.ts";
import { AVERAGE_PREFIX, type ParamSpec } from "../nn/params.ts";
import { averageName, momentName } from "../optim/adam.ts";
import type { Device } from "../runtime/device.ts";
import { type CoopFlowConfig, energyConfigOf, flowConfigOf } from "./config.ts";
import { accumulatedSpec } from "./programs/accumulate.ts";
import { type Averaged, chainsSpec, declareModels, imagesShape } from "./programs/program.ts";

/** A named tensor of a model. */
export interface StateSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its value in a fresh model; `draw` may be a faster way to the same draws. */
  init(seed: number, draw?: Uniforms): Float32Array;
  /** Whether that is zeros, which a device makes by itself. */
  readonly zeros?: boolean;
  /** The state that this one averages (or, for a buffer, repeats). */
  readonly averageOf?: string;
}

/** The states of a configuration's models. */
export interface ModelStates {
  readonly all: readonly StateSpec[];
  /** What is of no worth between iterations, so that checkpoints don't have it: sums of gradients. */
  readonly scratch: readonly StateSpec[];
  /** Names of what is trained, in the reference's module order. */
  readonly trained: readonly string[];
  /** Trained numbers of the flow and the energy network. */
  readonly parameters: number;
}

/** Which of the two networks have moving averages. */
export function averagedNetworks(config: CoopFlowConfig): Required<Averaged> {
  const { flow, ebm } = config.training.averaging;
  return { flow: flow !== "off", energy: ebm !== "off" };
}

/**
 * Lists what a model of this configuration keeps: `flow.…`, `ebm.…` under the reference's names, `adam.m.…`, `adam.v.…` of each trained one,
 * and `ema.…` of each state of a network whose average is on.
 */
export function modelStates(config: CoopFlowConfig): ModelStates {
  const g = new Graph();
  const { flow, energy } = declareModels(g, { flow: flowConfigOf(config), energy: energyConfigOf(config) });
  const averaged = averagedNetworks(config);
  const { phase, chains, accumulate } = config.training;
  const all: StateSpec[] = [];
  const scratch: StateSpec[] = [];
  const trained: string[] = [];
  let parameters = 0;
  const add = (specs: readonly ParamSpec[], average: boolean, learns: boolean): void => {
    for (const spec of specs) {
      const { name, shape } = spec;
      const init: StateSpec["init"] = (seed, draw) => spec.init(seed, draw);
      all.push({ name, shape, init });
      if (spec.trainable) {
        trained.push(name);
        const zeros = (): Float32Array => new Float32Array(elements(shape));
        for (const which of ["m", "v"] as const) {
          all.push({ name: momentName(which, name), shape, init: zeros, zeros: true });
        }
        if (learns && accumulate > 1) scratch.push({ ...accumulatedSpec(spec), zeros: true });
        parameters += elements(shape);
      }
      if (average) all.push({ name: averageName(name), shape, init, averageOf: name });
    }
  };
  add(flow.params.specs, averaged.flow, phase !== "ebm");
  add(energy.params.specs, averaged.energy, phase !== "flow");
  if (phase === "ebm" && chains === "persistent") {
    all.push(chainsSpec(imagesShape({ flow: flow.config, energy: energyConfigOf(config) }, config.training.batch)));
  }
  return { all, scratch, trained, parameters };
}

/** A fresh model's value of each state, for `Engine.open`; undefined: zeros. A value is good until the next is asked for. */
export function freshValues(seed: number): (spec: StateSpec, device: Device) => Float32Array | undefined {
  const drawn: ArrayBuffer[] = [];
  return ({ averageOf, shape, zeros, init }, device) => {
    // By now the device has a copy; until the garbage collector comes, the model would be there twice.
    for (const buffer of drawn.splice(0)) buffer.transfer(0);
    if (zeros) return undefined;
    // An average stands behind what it averages, and begins as that.
    if (averageOf !== undefined) return device.getState(averageOf, elements(shape));
    return init(seed, (...draw) => {
      const values = device.uniforms(...draw);
      drawn.push(values.buffer);
      return values;
    });
  };
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Whether a state is a moving average. */
export function isAverage(name: string): boolean {
  return name.startsWith(AVERAGE_PREFIX);
}
