/** Everything that a model keeps between calls: parameters, buffers, Adam's moments and moving averages. */
import { Graph } from "../graph/graph.ts";
import { AVERAGE_PREFIX, type ParamSpec } from "../nn/params.ts";
import { averageName, momentName } from "../optim/adam.ts";
import { type CoopFlowConfig, energyConfigOf, flowConfigOf } from "./config.ts";
import { type Averaged, declareModels } from "./programs/program.ts";

/** A named tensor of a model. */
export interface StateSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its value in a fresh model. */
  init(seed: number): Float32Array;
  /** The state that this one averages (or, for a buffer, repeats). */
  readonly averageOf?: string;
}

/** The states of a configuration's models. */
export interface ModelStates {
  readonly all: readonly StateSpec[];
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
  const all: StateSpec[] = [];
  const trained: string[] = [];
  let parameters = 0;
  const add = (specs: readonly ParamSpec[], average: boolean): void => {
    for (const spec of specs) {
      const { name, shape } = spec;
      all.push({ name, shape, init: (seed) => spec.init(seed) });
      if (spec.trainable) {
        trained.push(name);
        const zeros = (): Float32Array => new Float32Array(elements(shape));
        for (const which of ["m", "v"] as const) all.push({ name: momentName(which, name), shape, init: zeros });
        parameters += elements(shape);
      }
      if (average) all.push({ name: averageName(name), shape, init: (seed) => spec.init(seed), averageOf: name });
    }
  };
  add(flow.params.specs, averaged.flow);
  add(energy.params.specs, averaged.energy);
  return { all, trained, parameters };
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Whether a state is a moving average. */
export function isAverage(name: string): boolean {
  return name.startsWith(AVERAGE_PREFIX);
}
