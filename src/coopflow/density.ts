/** Scoring images: likelihoods under the flow, energies under the EBM. */
import { UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Engine } from "./engine.ts";
import { expectU32, parameters } from "./inference.ts";

/** Options of {@linkcode CoopFlow.density}. */
export interface DensityOptions {
  /** k, draws of the dequantization noise for each image. Default 1. */
  readonly draws?: number;
  /** Seed of the dequantization noise. Default: the configuration's. */
  readonly seed?: number;
  /** Index of the first image: what noise it is given. Default 0. */
  readonly first?: number;
  /** Use the live parameters even if there are averaged ones. */
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
}

/** Scores of images, one each. */
export interface Densities {
  /**
   * −log₂ of the importance-weighted bound (1/k)·Σ q(x+u)/r(u|x) on the flow's q(x), per dimension; u: k draws of the dequantization noise. The bound
   * grows with k towards q(x).
   */
  readonly bitsPerDim: Float32Array<ArrayBuffer>;
  /** The same of one draw, averaged over the draws. */
  readonly oneDrawBitsPerDim: Float32Array<ArrayBuffer>;
  /** f(x) under the EBM: larger = more likely. */
  readonly energies: Float32Array<ArrayBuffer>;
}

/**
 * The importance-weighted bound in bits/dim from those of k single draws: −log₂((1/k)·Σ 2^(−D·bᵢ))/D.
 *
 * @param dimensions D
 */
export function importanceWeighted(bits: readonly number[], dimensions: number): number {
  const least = Math.min(...bits);
  const sum = bits.reduce((total, b) => total + 2 ** (dimensions * (least - b)), 0);
  return least - Math.log2(sum / bits.length) / dimensions;
}

/** See {@linkcode CoopFlow.density}. */
export async function scoreImages(
  engine: Engine,
  config: CoopFlowConfig,
  images: Float32Array,
  options: DensityOptions,
): Promise<Densities> {
  const { seed = config.seed, first = 0, draws = 1, signal } = options;
  expectU32("seed", seed);
  expectU32("first", first);
  if (!Number.isSafeInteger(draws) || draws < 1) {
    throw new UsageError(`draws: expected a whole number of at least 1, found ${draws}`);
  }
  const { height, width, channels } = config.data;
  const { batch } = config.training;
  const size = height * width * channels;
  const count = images.length / size;
  const { averaged, name } = parameters(config, options.liveParameters);
  const program = await engine.program(`density ${name}`, { kind: "density", config, averaged });
  const out = {
    bitsPerDim: new Float32Array(count),
    oneDrawBitsPerDim: new Float32Array(count),
    energies: new Float32Array(count),
  };
  const data = new Float32Array(batch * size);
  for (let at = 0; at < count; at += batch) {
    const part = images.subarray(at * size, (at + batch) * size);
    data.fill(0).set(part);
    const n = part.length / size;
    const bits = Array.from({ length: n }, (): number[] => []);
    for (let draw = 0; draw < draws; draw++) {
      const fetches = await engine.run(program, { data, key: Uint32Array.of(seed, draw, first + at, 0) }, signal);
      bits.forEach((of, i) => of.push(fetches["bits_per_dim"]![i]!));
      if (draw === 0) out.energies.set(fetches["energy"]!.subarray(0, n), at);
    }
    out.bitsPerDim.set(bits.map((of) => importanceWeighted(of, size)), at);
    out.oneDrawBitsPerDim.set(bits.map((of) => of.reduce((sum, b) => sum + b, 0) / draws), at);
  }
  return out;
}
