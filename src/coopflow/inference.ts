/** Scoring images with a model, and what everything that is done with a trained one checks. */
import { DataError, UsageError } from "../errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Engine } from "./engine.ts";
import type { Averaged } from "./programs/program.ts";
import { averagedNetworks } from "./states.ts";

/** Scores of images, one each. */
export interface Densities {
  /** −log₂ q(x)/D under the flow. */
  readonly bitsPerDim: Float32Array<ArrayBuffer>;
  /** f(x) under the EBM: larger = more likely. */
  readonly energies: Float32Array<ArrayBuffer>;
}

const MAX_U32 = 0xffffffff;

/** @throws {DataError} if a data set's images are not what the configuration says */
export function checkDataset(config: CoopFlowConfig, dataset: Dataset): void {
  for (const key of ["height", "width", "channels", "levels"] as const) {
    if (dataset[key] === config.data[key]) continue;
    const images = `${dataset.height}×${dataset.width}×${dataset.channels} with ${dataset.levels} levels`;
    throw new DataError(
      `data.${key}: expected ${config.data[key]} as configured, found ${
        dataset[key]
      } in ${dataset.name} (${images}); ` +
        `choose other data, or another configuration`,
    );
  }
}

/** @throws {DataError} if `images` is no whole number of images in [−1, 1] */
export function checkImages(config: CoopFlowConfig, images: Float32Array): void {
  const { height, width, channels } = config.data;
  const size = height * width * channels;
  if (images.length === 0 || images.length % size !== 0) {
    throw new DataError(
      `expected images of ${height}×${width}×${channels} = ${size} values, found ${images.length} values`,
    );
  }
  const bad = images.findIndex((value) => !(value >= -1 && value <= 1));
  if (bad >= 0) {
    throw new DataError(`expected values in [−1, 1], found ${images[bad]} in image ${Math.floor(bad / size)}`);
  }
}

/** Which networks are taken from their averages, and a name for that. */
export function parameters(config: CoopFlowConfig, live: boolean | undefined): { averaged: Averaged; name: string } {
  return live === true ? { averaged: {}, name: "live" } : { averaged: averagedNetworks(config), name: "averaged" };
}

/** @throws {UsageError} if it isn't a whole number from `least` to 2³² − 1 */
export function expectU32(what: string, value: number, least = 0): void {
  if (Number.isInteger(value) && value >= least && value <= MAX_U32) return;
  throw new UsageError(`${what}: expected a whole number from ${least} to ${MAX_U32}, found ${value}`);
}

/** Scores images; see {@linkcode CoopFlow.density}. */
export async function scoreImages(
  engine: Engine,
  config: CoopFlowConfig,
  images: Float32Array,
  options: { readonly seed?: number; readonly liveParameters?: boolean; readonly signal?: AbortSignal },
): Promise<Densities> {
  const { seed = config.seed, signal } = options;
  expectU32("seed", seed);
  const { height, width, channels } = config.data;
  const { batch } = config.training;
  const size = height * width * channels;
  const count = images.length / size;
  const { averaged, name } = parameters(config, options.liveParameters);
  const program = await engine.program(`density ${name}`, { kind: "density", config, averaged });
  const out = { bitsPerDim: new Float32Array(count), energies: new Float32Array(count) };
  const data = new Float32Array(batch * size);
  for (let first = 0; first < count; first += batch) {
    const part = images.subarray(first * size, (first + batch) * size);
    data.fill(0).set(part);
    const fetches = await engine.run(program, { data, key: Uint32Array.of(seed, 0, first, 0) }, signal);
    const n = part.length / size;
    out.bitsPerDim.set(fetches["bits_per_dim"]?.subarray(0, n) ?? [], first);
    out.energies.set(fetches["energy"]?.subarray(0, n) ?? [], first);
  }
  return out;
}
