/** Whether an energy has learnt what it should, and what its Langevin chains do, short and long ones. */
import { stepSizes } from "../energy/step_sizes.ts";
import { DataError } from "../errors.ts";
import { expectU32, parameters } from "./inference.ts";
import { CHAIN_PART } from "./programs/chain.ts";
import { drawSamples } from "./sampling.ts";
import { pixelsOf, type Searched } from "./search.ts";

/** Options of {@linkcode CoopFlow.chain}. */
export interface ChainOptions {
  /** Steps of the chains. Default: the configuration's T. */
  readonly steps?: number;
  /** Chains whose states are kept, every 50 steps. Default 0. */
  readonly shown?: number;
  /** Default: the configuration's. */
  readonly seed?: number;
  /** Use the live parameters even if there are averaged ones. */
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
  /** Told of steps made, all chains together. */
  readonly onStep?: (done: number, total: number) => void;
}

/** Chains step by step: value t belongs to the images after t steps, t = 0 … steps; means over the chains. */
export interface ChainDiagnostics {
  readonly count: number;
  readonly steps: number;
  /** f. */
  readonly energy: Float64Array;
  /** Standard deviation of f. */
  readonly energyDeviation: Float64Array;
  /** ‖∇f‖. */
  readonly gradientNorm: Float64Array;
  /** Share of the elements whose next move is clamped. */
  readonly clampedMoves: Float64Array;
  /** Share of the elements that the range stops in the next step. */
  readonly clampedPixels: Float64Array;
  /** Root mean square of the difference to the proposal. */
  readonly distance: Float64Array;
  /** Share of the chains whose next move is accepted; with Metropolis adjustment only. */
  readonly acceptance?: Float64Array;
  /** Every 50 steps: [shown, height, width, channels]. */
  readonly states: readonly { readonly step: number; readonly images: Float32Array<ArrayBuffer> }[];
}

/** Names of the chain program's fetches. */
const WATCHED = {
  gradientNorm: "slope_norm",
  clampedMoves: "clamped_moves",
  clampedPixels: "clamped_pixels",
  distance: "distance",
} as const;

/** See {@linkcode CoopFlow.chain}. */
export async function watchChains(
  { engine, config }: Searched,
  count: number,
  options: ChainOptions,
): Promise<ChainDiagnostics> {
  const { steps = config.langevin.steps, shown = 0, seed = config.seed, signal } = options;
  expectU32("steps", steps, 1);
  const { batch } = config.training;
  const { values } = pixelsOf(config);
  const { proposals } = await drawSamples(engine, config, count, options);
  const { averaged, name } = parameters(config, options.liveParameters);
  const program = await engine.program(`chain ${name}`, { kind: "chain", config, averaged });
  const sums = (): Float64Array => new Float64Array(steps + 1);
  const squares = sums();
  const out = {
    energy: sums(),
    gradientNorm: sums(),
    clampedMoves: sums(),
    clampedPixels: sums(),
    distance: sums(),
    ...(config.langevin.metropolis ? { acceptance: sums() } : {}),
  };
  // As many parts as it takes to start a step from the last state too.
  const parts = Math.floor(steps / CHAIN_PART) + 1;
  const states = Array.from(
    { length: parts },
    (_, part) => ({ step: part * CHAIN_PART, images: new Float32Array(Math.min(shown, count) * values) }),
  );
  const total = Math.ceil(count / batch) * parts * CHAIN_PART;
  for (let first = 0; first < count; first += batch) {
    const here = Math.min(batch, count - first);
    const origin = new Float32Array(batch * values);
    origin.set(proposals.subarray(first * values, (first + here) * values));
    let start = origin;
    for (let part = 0; part < parts; part++) {
      if (first < shown) {
        const kept = Math.min(here, shown - first);
        states[part]!.images.set(start.subarray(0, kept * values), first * values);
      }
      const key = Uint32Array.of(seed, part, first, 0);
      const { langevin } = config;
      const step_size = stepSizes(langevin, langevin.sampleStepSize, part * CHAIN_PART, CHAIN_PART);
      const feeds = { start, origin, key, step_size };
      const fetches = await engine.run(program, feeds, signal);
      for (let t = 0; t < CHAIN_PART && part * CHAIN_PART + t <= steps; t++) {
        const row = part * CHAIN_PART + t;
        for (let n = 0; n < here; n++) {
          const at = t * batch + n;
          const f = fetches["energy"]![at]!;
          out.energy[row]! += f;
          squares[row]! += f * f;
          for (const kind of ["gradientNorm", "clampedMoves", "clampedPixels", "distance"] as const) {
            out[kind][row]! += fetches[WATCHED[kind]]![at]!;
          }
          if (out.acceptance !== undefined) out.acceptance[row]! += fetches["accepted"]![at]!;
        }
      }
      start = fetches["images"]!;
      options.onStep?.(((first / batch) * parts + part + 1) * CHAIN_PART, total);
    }
  }
  for (const of of [...Object.values(out), squares]) of.forEach((sum, t) => of[t] = sum / count);
  const energyDeviation = squares.map((square, t) => Math.sqrt(Math.max(0, square - out.energy[t]! ** 2)));
  return { count, steps, ...out, energyDeviation, states };
}

/** How well a layer's moments match. */
export interface LayerMoments {
  readonly layer: string;
  /** ‖E_data[∂f/∂θ]‖, θ: the layer's parameters. */
  readonly data: number;
  /** ‖E_synthesised[∂f/∂θ]‖. */
  readonly synthesised: number;
  /** ‖E_data[∂f/∂θ] − E_synthesised[∂f/∂θ]‖: the norm of the layer's part of the energy's learning gradient. */
  readonly difference: number;
  /** What that norm would be about if the expectations were equal, as they are estimated from so many images: from halves of each set. */
  readonly chance: number;
  /** Cosine of the angle between the two expectations. */
  readonly cosine: number;
}

/** Options of {@linkcode CoopFlow.momentMatching}. */
export interface MomentOptions {
  /** Use the live parameters even if there are averaged ones. */
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
}

/** Mean gradients by tensor. */
type Gradients = ReadonlyMap<string, Float32Array>;

/** See {@linkcode CoopFlow.momentMatching}. */
export async function matchMoments(
  model: Searched,
  data: Float32Array,
  synthesised: Float32Array,
  options: MomentOptions,
): Promise<LayerMoments[]> {
  const { values } = pixelsOf(model.config);
  for (const [what, images] of [["data", data], ["synthesised", synthesised]] as const) {
    const count = images.length / values;
    if (count < 2) throw new DataError(`${what}: expected at least 2 images, found ${count}`);
  }
  // Every other image, as data may be sorted.
  const halves: [Gradients, Gradients][] = [];
  for (const images of [data, synthesised]) {
    halves.push([await meanGradients(model, images, 0, options), await meanGradients(model, images, 1, options)]);
  }
  const [ofData, ofSynthesised] = halves as [[Gradients, Gradients], [Gradients, Gradients]];
  const sums = new Map<
    string,
    { data: number; synthesised: number; difference: number; chance: number; dot: number }
  >();
  for (const name of ofData[0].keys()) {
    const layer = name.split(".").slice(0, -1).join(".");
    const sum = sums.get(layer) ?? { data: 0, synthesised: 0, difference: 0, chance: 0, dot: 0 };
    const [a, b] = ofData.map((half) => half.get(name)!) as [Float32Array, Float32Array];
    const [c, d] = ofSynthesised.map((half) => half.get(name)!) as [Float32Array, Float32Array];
    for (let i = 0; i < a.length; i++) {
      const [x, y] = [(a[i]! + b[i]!) / 2, (c[i]! + d[i]!) / 2];
      sum.data += x * x;
      sum.synthesised += y * y;
      sum.dot += x * y;
      sum.difference += (x - y) ** 2;
      // The variance of a mean of two halves is a quarter of that of their difference.
      sum.chance += ((a[i]! - b[i]!) ** 2 + (c[i]! - d[i]!) ** 2) / 4;
    }
    sums.set(layer, sum);
  }
  return [...sums].map(([layer, { data, synthesised, difference, chance, dot }]) => ({
    layer,
    data: Math.sqrt(data),
    synthesised: Math.sqrt(synthesised),
    difference: Math.sqrt(difference),
    chance: Math.sqrt(chance),
    cosine: dot / Math.sqrt(data * synthesised),
  }));
}

/** ∂f/∂θ averaged over every other image, from image `from` on. */
async function meanGradients(
  { engine, config }: Searched,
  images: Float32Array,
  from: 0 | 1,
  { liveParameters, signal }: MomentOptions,
): Promise<Gradients> {
  const { batch } = config.training;
  const { values } = pixelsOf(config);
  const { averaged, name } = parameters(config, liveParameters);
  const program = await engine.program(`moments ${name}`, { kind: "moments", config, averaged });
  const count = Math.floor((images.length / values - from + 1) / 2);
  const means = new Map<string, Float32Array>();
  for (let first = 0; first < count; first += batch) {
    const part = new Float32Array(batch * values);
    const weight = new Float32Array(batch);
    for (let n = 0; n < Math.min(batch, count - first); n++) {
      const at = (2 * (first + n) + from) * values;
      part.set(images.subarray(at, at + values), n * values);
      weight[n] = 1 / count;
    }
    for (const [tensor, sum] of Object.entries(await engine.run(program, { images: part, weight }, signal))) {
      const mean = means.get(tensor);
      if (mean === undefined) means.set(tensor, sum);
      else sum.forEach((value, i) => mean[i]! += value);
    }
  }
  return means;
}
