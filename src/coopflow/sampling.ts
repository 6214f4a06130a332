/** Drawing images, batch by batch. */
import { UsageError } from "../errors.ts";
import { stepSizes } from "../energy/step_sizes.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Engine } from "./engine.ts";
import { expectU32, parameters } from "./inference.ts";

/** Options of {@linkcode CoopFlow.sample}. */
export interface SampleOptions {
  /** Default: the configuration's. */
  readonly seed?: number;
  /** Index of the first image. */
  readonly first?: number;
  /** Use the live parameters even if there are averaged ones. */
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
}

/** Images [count, height, width, channels], values in [−1, 1]. */
export interface Samples {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** The flow's proposals. */
  readonly proposals: Float32Array<ArrayBuffer>;
  /** What the Langevin chain made of them. */
  readonly images: Float32Array<ArrayBuffer>;
}

/** Some of the samples asked for. */
export interface SampleBatch extends Samples {
  /** Index of the first of them. */
  readonly first: number;
}

/** Samples and how the chain got to them. */
export interface Trajectories extends Samples {
  /** States of each chain: the proposal, and one after each step. */
  readonly states: number;
  /** [count, states, height, width, channels]. */
  readonly trajectories: Float32Array<ArrayBuffer>;
}

/** Most values of trajectories that are drawn at once. */
const MOST_VALUES = 2 ** 27;

function expectRange(config: CoopFlowConfig, count: number, { seed = config.seed, first = 0 }: SampleOptions): void {
  expectU32("count", count, 1);
  expectU32("seed", seed);
  expectU32("first", first);
  expectU32("first + count", first + count);
}

interface RawBatch {
  /** Index of the first image, and of the one behind the last. */
  readonly from: number;
  readonly to: number;
  /** That part of a fetch that has the images along its first dimension. */
  readonly part: (name: string) => Float32Array<ArrayBuffer>;
  readonly fetch: (name: string) => Float32Array<ArrayBuffer>;
  /** Index of the first image within the compiled batch. */
  readonly offset: number;
}

/**
 * Runs a sampling program as often as needed. Batches begin at multiples of the batch size: an image is always computed at the same place of the same
 * batch, so that its bits do not depend on how many others are asked for. The next run begins before a batch is handed out.
 */
async function* runBatches(
  engine: Engine,
  config: CoopFlowConfig,
  count: number,
  options: SampleOptions,
  trajectory: boolean,
): AsyncGenerator<RawBatch, void, void> {
  expectRange(config, count, options);
  const { seed = config.seed, first = 0, signal } = options;
  const { batch } = config.training;
  const { averaged, name } = parameters(config, options.liveParameters);
  const key = `sample ${name}${trajectory ? " trajectory" : ""}`;
  const program = await engine.program(key, { kind: "sample", config, averaged, trajectory });
  const stepSize = stepSizes(config.langevin, config.langevin.sampleStepSize);
  const begin = (start: number): Promise<Record<string, Float32Array<ArrayBuffer>>> => {
    const feeds = { key: Uint32Array.of(seed, 0, start, 0), step_size: stepSize };
    const run = engine.run(program, feeds, signal);
    run.catch(() => {}); // told of when its turn comes
    return run;
  };
  const last = first + count;
  let start = first - first % batch;
  let running: ReturnType<typeof begin> | undefined = begin(start);
  try {
    for (; running !== undefined; start += batch) {
      const fetches: Awaited<typeof running> = await running;
      running = start + batch < last ? begin(start + batch) : undefined;
      const [from, to] = [Math.max(first, start), Math.min(last, start + batch)];
      const fetch = (name: string): Float32Array<ArrayBuffer> => fetches[name]!;
      const part = (name: string): Float32Array<ArrayBuffer> => {
        const size = fetch(name).length / batch;
        return fetch(name).subarray((from - start) * size, (to - start) * size);
      };
      yield { from, to, part, fetch, offset: from - start };
    }
  } finally {
    // Whoever left the loop early finds the device idle.
    await running?.catch(() => {});
  }
}

/** See {@linkcode CoopFlow.samples}. */
export async function* sampleBatches(
  engine: Engine,
  config: CoopFlowConfig,
  count: number,
  options: SampleOptions,
): AsyncGenerator<SampleBatch, void, void> {
  const { height, width, channels } = config.data;
  for await (const { from, to, part } of runBatches(engine, config, count, options, false)) {
    const [proposals, images] = [part("proposals"), part("images")];
    yield { first: from, count: to - from, height, width, channels, proposals, images };
  }
}

/** See {@linkcode CoopFlow.sample}. */
export async function drawSamples(
  engine: Engine,
  config: CoopFlowConfig,
  count: number,
  options: SampleOptions,
): Promise<Samples> {
  expectRange(config, count, options);
  const { height, width, channels } = config.data;
  const size = height * width * channels;
  const { first = 0 } = options;
  const out = { proposals: new Float32Array(count * size), images: new Float32Array(count * size) };
  for await (const batch of sampleBatches(engine, config, count, options)) {
    for (const kind of ["proposals", "images"] as const) out[kind].set(batch[kind], (batch.first - first) * size);
  }
  return { count, height, width, channels, ...out };
}

/** See {@linkcode CoopFlow.trajectories}. */
export async function drawTrajectories(
  engine: Engine,
  config: CoopFlowConfig,
  count: number,
  options: SampleOptions,
): Promise<Trajectories> {
  expectRange(config, count, options);
  const { data: { height, width, channels }, langevin: { steps }, training: { batch, phase } } = config;
  if (phase === "flow") {
    throw new UsageError(
      "trajectories: expected a model with a trained EBM, found one of phase flow, which has no chains",
    );
  }
  const size = height * width * channels;
  const states = steps + 1;
  const most = Math.floor(MOST_VALUES / (states * size));
  if (count > most) {
    throw new UsageError(`count: expected at most ${most} chains of ${states} states at once, found ${count}`);
  }
  const { first = 0 } = options;
  const proposals = new Float32Array(count * size);
  const images = new Float32Array(count * size);
  const trajectories = new Float32Array(count * states * size);
  for await (const { from, to, part, fetch, offset } of runBatches(engine, config, count, options, true)) {
    proposals.set(part("proposals"), (from - first) * size);
    images.set(part("images"), (from - first) * size);
    const all = fetch("trajectory"); // [steps, batch, height, width, channels]
    for (let n = 0; n < to - from; n++) {
      const chain = (from - first + n) * states * size;
      for (let t = 0; t < steps; t++) {
        const at = (t * batch + offset + n) * size;
        trajectories.set(all.subarray(at, at + size), chain + t * size);
      }
      trajectories.set(part("images").subarray(n * size, (n + 1) * size), chain + steps * size);
    }
  }
  return { count, height, width, channels, proposals, images, states, trajectories };
}
