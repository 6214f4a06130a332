/** CoopFlow on densities of the plane, where both networks can be compared with the truth. */
import { stepSizes } from "../../energy/step_sizes.ts";
import { CoopFlowError, UsageError } from "../../errors.ts";
import { AVERAGE_PREFIX } from "../../nn/params.ts";
import type { DeviceOptions } from "../../runtime/device.ts";
import type { Feeds, Fetches, Program } from "../../runtime/program.ts";
import { Engine } from "../engine.ts";
import { expectU32 } from "../inference.ts";
import { nextCounters } from "../iteration.ts";
import { firstNotFinite } from "../not_finite.ts";
import { loadGraph } from "../program_cache.ts";
import type { ModelProgram } from "../programs/program.ts";
import { type Counters, FRESH, learnScalars } from "../schedule.ts";
import { elements } from "../states.ts";
import { ITERATIONS, type Toy2dConfig, toy2dConfig } from "./config.ts";
import { densities, type DensityName, drawPoints, type PlaneDensity } from "./densities.ts";
import {
  CELLS,
  type Divergence,
  divergence,
  gridPoints,
  logMasses,
  normalised,
  sampleDivergence,
  truthOnGrid,
} from "./evaluate.ts";
import { initialisePoints, learnPoints, samplePoints, scorePoints } from "./programs.ts";

/** How to learn. */
export interface Toy2dOptions extends DeviceOptions {
  /** Whether the Langevin chain is noisy. Default true; the reference's is not. */
  readonly noise?: boolean;
  /** Learning iterations. Default 4,000. */
  readonly iterations?: number;
  /** Seed of everything that is drawn. Default 0. */
  readonly seed?: number;
  /** Points of each kind that samples are judged by. Default 65,536. */
  readonly samples?: number;
  readonly signal?: AbortSignal;
  /** Told of each iteration. */
  readonly onIteration?: (done: number, iterations: number) => void;
}

/** What was learnt, with averaged parameters. */
export interface Toy2dResult {
  readonly density: DensityName;
  readonly noise: boolean;
  readonly iterations: number;
  readonly seed: number;
  /** Of the learning. */
  readonly seconds: number;
  /** How far each is from the truth: flow and energy by their densities on a grid, the rest by histograms of points. */
  readonly divergences: {
    readonly flow: Divergence;
    readonly energy: Divergence;
    readonly proposals: Divergence;
    readonly revised: Divergence;
    /** As many points of the truth: what counting makes. */
    readonly truth: Divergence;
  };
  /** Masses of the cells of a grid [cells, cells], rows from the top. */
  readonly grids: { readonly truth: Float64Array; readonly flow: Float64Array; readonly energy: Float64Array };
  /** Points [n, 2]. */
  readonly points: { readonly truth: Float32Array; readonly proposals: Float32Array; readonly revised: Float32Array };
}

/** Points that activation norms are initialised from. */
const INITIALISATION = 4096;
/** Iterations in a row with a value that is not finite, each of which is skipped, before learning gives up. */
const PATIENCE = 20;
/** Points per call when a model is judged. */
const PART = 4096;

/**
 * Learns a density of the plane and compares both networks with it.
 *
 * @throws {UsageError} for options out of range
 * @throws {CoopFlowError} if learning meets nothing but values that are not finite
 * @throws {CancelledError} if the signal is given
 */
export async function toy2d(name: DensityName, options: Toy2dOptions = {}): Promise<Toy2dResult> {
  const { noise = true, iterations = ITERATIONS, seed = 0, samples = 65_536, signal, onIteration, ...device } = options;
  expectU32("seed", seed);
  expectU32("iterations", iterations, 1);
  expectU32("samples", samples, 1);
  const truth = densities[name];
  if (truth === undefined) {
    throw new UsageError(`density: expected one of ${Object.keys(densities).join(", ")}, found ${String(name)}`);
  }
  const config = toy2dConfig({ noise, iterations });
  const learning = learnPoints(config);
  using engine = Engine.open(device, learning.specs, (spec) => spec.init(seed));
  const model = new PointModel(engine, config, truth, seed, signal);
  const began = performance.now();
  await model.learn(learning, onIteration);
  const seconds = (performance.now() - began) / 1000;
  return { density: name, noise, iterations, seed, seconds, ...await model.judge(samples) };
}

class PointModel {
  readonly #engine: Engine;
  readonly #config: Toy2dConfig;
  readonly #truth: PlaneDensity;
  readonly #seed: number;
  readonly #signal: AbortSignal | undefined;

  constructor(
    engine: Engine,
    config: Toy2dConfig,
    truth: PlaneDensity,
    seed: number,
    signal: AbortSignal | undefined,
  ) {
    this.#engine = engine;
    this.#config = config;
    this.#truth = truth;
    this.#seed = seed;
    this.#signal = signal;
  }

  /** Initialises the flow from data, then makes all iterations: one call each. */
  async learn({ graph, specs }: ModelProgram, onIteration: Toy2dOptions["onIteration"]): Promise<void> {
    const { device } = this.#engine;
    const first = await this.#load(initialisePoints(this.#config, INITIALISATION));
    await this.#run(first, { data: this.#draw("init/data", INITIALISATION) });
    // Averages begin as what they average.
    for (const { name, shape } of specs.filter((spec) => spec.kind === "average")) {
      device.setState(name, device.getState(name.slice(AVERAGE_PREFIX.length), elements(shape)), shape);
    }
    const program = await loadGraph(device, graph);
    const { training, wide } = this.#config;
    const { batch, iterations } = training;
    let broken = 0;
    let counters: Counters = { ...FRESH, initialised: true };
    for (let i = 0; i < iterations; i++) {
      const feeds = {
        data: this.#draw("data", batch + wide, i),
        key: Uint32Array.of(this.#seed, i, 0, 0),
        step_size: this.#stepSizes(),
        ...learnScalars(this.#config, counters),
      };
      const fetches = await this.#run(program, feeds);
      broken = fetches["finite"]?.[0] === 1 ? 0 : broken + 1;
      if (broken === PATIENCE) {
        const what = await firstNotFinite(fetches, () => this.#engine.watch(program, feeds, this.#signal));
        throw new CoopFlowError(
          `iterations ${i + 2 - PATIENCE} to ${i + 1}: expected finite values, found that ${what}; try another seed`,
        );
      }
      counters = nextCounters(counters, fetches);
      onIteration?.(i + 1, iterations);
    }
  }

  /** Compares densities on the grid, and points by histograms. */
  async judge(samples: number): Promise<Pick<Toy2dResult, "divergences" | "grids" | "points">> {
    const truth = truthOnGrid(this.#truth);
    const [logQ, f] = await this.#scores();
    const [logFlow, logEnergy] = [logMasses(logQ), normalised(f)];
    const { proposals, revised } = await this.#sample(samples);
    const points = { truth: this.#draw("judge/data", samples), proposals, revised };
    return {
      divergences: {
        flow: divergence(truth, logFlow),
        energy: divergence(truth, logEnergy),
        proposals: sampleDivergence(truth, proposals),
        revised: sampleDivergence(truth, revised),
        truth: sampleDivergence(truth, points.truth),
      },
      grids: { truth, flow: logFlow.map(Math.exp), energy: logEnergy.map(Math.exp) },
      points,
    };
  }

  /** log q and f at the centres of the grid's cells. */
  async #scores(): Promise<readonly [Float32Array, Float32Array]> {
    const program = await this.#load(scorePoints(this.#config, PART));
    const grid = gridPoints();
    const [logQ, f] = [new Float32Array(CELLS * CELLS), new Float32Array(CELLS * CELLS)];
    for (let at = 0; at < CELLS * CELLS; at += PART) {
      const fetches = await this.#run(program, { data: grid.slice(2 * at, 2 * (at + PART)) });
      logQ.set(fetches["log_q"]!, at);
      f.set(fetches["f"]!, at);
    }
    return [logQ, f];
  }

  async #sample(n: number): Promise<{ proposals: Float32Array; revised: Float32Array }> {
    const program = await this.#load(samplePoints(this.#config, PART));
    const [proposals, revised] = [new Float32Array(2 * n), new Float32Array(2 * n)];
    for (let at = 0; at < n; at += PART) {
      const key = Uint32Array.of(this.#seed, 0, at, 0);
      const fetches = await this.#run(program, { key, step_size: this.#stepSizes() });
      const values = 2 * Math.min(PART, n - at);
      proposals.set(fetches["proposals"]!.subarray(0, values), 2 * at);
      revised.set(fetches["images"]!.subarray(0, values), 2 * at);
    }
    return { proposals, revised };
  }

  #stepSizes(): ReturnType<typeof stepSizes> {
    const { langevin } = this.#config;
    return stepSizes(langevin, langevin.stepSize);
  }

  #draw(stream: string, n: number, iteration = 0): Float32Array<ArrayBuffer> {
    return drawPoints(this.#truth, n, this.#seed, stream, iteration);
  }

  #load({ graph }: ModelProgram): Promise<Program> {
    return loadGraph(this.#engine.device, graph);
  }

  #run(program: Program, feeds: Feeds): Promise<Fetches> {
    return this.#engine.run(program, feeds, this.#signal);
  }
}
