/** Walking from image to image through the latent space. */
import { stepSizes } from "../energy/step_sizes.ts";
import { DataError, UsageError } from "../errors.ts";
import { normals } from "../random.ts";
import type { CoopFlowConfig } from "./config.ts";
import { parameters } from "./inference.ts";
import { pixelsOf, search, type Searched, type SearchOptions } from "./search.ts";
import { INPAINTING } from "./search_defaults.ts";

/** Images from one end to the other. */
const POINTS = 21;

/** How to interpolate. */
export interface InterpolateOptions extends SearchOptions {
  /** Images from one end to the other, both included. Default 21. */
  readonly points?: number;
  /** Along the straight line between two latents (the default, as in the reference), or along the great circle. */
  readonly path?: "linear" | "spherical";
}

/** An interpolation: images [pairs, points, height, width, channels]. */
export interface Interpolation {
  readonly pairs: number;
  readonly points: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly images: Float32Array<ArrayBuffer>;
}

/** See {@linkcode CoopFlow.interpolate}. */
export async function interpolateImages(
  model: Searched,
  between: Float32Array | number,
  options: InterpolateOptions,
): Promise<Interpolation> {
  const { points = POINTS, path = "linear", ...how } = options;
  if (!Number.isSafeInteger(points) || points < 2) {
    throw new UsageError(`points: expected a whole number of at least 2, found ${points}`);
  }
  const { values } = pixelsOf(model.config);
  const { seed } = model.config;
  const z = typeof between === "number"
    ? Float32Array.from(normals(how.seed ?? seed, "interpolate/z", 2 * pairsOf(between) * values))
    : await latentsOf(model, between, how);
  const pairs = z.length / values / 2;
  const latents = new Float32Array(pairs * points * values);
  for (let p = 0; p < pairs; p++) {
    const [from, to] = [p, pairs + p].map((i) => z.subarray(i * values, (i + 1) * values)) as [
      Float32Array,
      Float32Array,
    ];
    for (let k = 0; k < points; k++) {
      latents.set(pointBetween(from, to, k / (points - 1), path), (p * points + k) * values);
    }
  }
  const { height, width, channels } = model.config.data;
  return { pairs, points, height, width, channels, images: await decode(model, latents, how) };
}

function pairsOf(pairs: number): number {
  if (Number.isSafeInteger(pairs) && pairs >= 1) return pairs;
  throw new UsageError(`pairs: expected a whole number of at least 1, found ${pairs}`);
}

/** The point at `t` of the way from one latent to another. */
function pointBetween(from: Float32Array, to: Float32Array, t: number, path: "linear" | "spherical"): Float32Array {
  const norm = (v: Float32Array): number => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
  const dot = from.reduce((sum, x, i) => sum + x * to[i]!, 0);
  const angle = Math.acos(Math.max(-1, Math.min(1, dot / (norm(from) * norm(to)))));
  // On nearly one line the great circle is the straight one.
  const [a, b] = path === "linear" || !(Math.sin(angle) > 1e-6)
    ? [1 - t, t]
    : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
  return from.map((x, i) => a * x + b * to[i]!);
}

/** @throws {DataError} if `count` images are not pairs */
export function expectPairs(count: number): void {
  if (count % 2 === 0) return;
  throw new DataError(`expected an even number of images to interpolate between, found ${count}`);
}

/** z of where the Langevin flow has to start to end at the images. */
async function latentsOf(model: Searched, images: Float32Array, options: SearchOptions): Promise<Float32Array> {
  const { engine, config } = model;
  const count = images.length / pixelsOf(config).values;
  expectPairs(count);
  const { starts } = await search(model, images, { defaults: INPAINTING }, options);
  const { averaged, name } = parameters(config, options.liveParameters);
  const program = await engine.program(`density ${name}`, { kind: "density", config, averaged });
  return await inBatches(config, starts, async (data, first) => {
    const key = Uint32Array.of(options.seed ?? config.seed, 0, first, 0);
    return (await engine.run(program, { data, key }, options.signal))["z"]!;
  });
}

/** Both flows, without clamps and noise. */
async function decode(
  { engine, config }: Searched,
  z: Float32Array,
  options: SearchOptions,
): Promise<Float32Array<ArrayBuffer>> {
  const { averaged, name } = parameters(config, options.liveParameters);
  const program = await engine.program(`decode ${name}`, { kind: "decode", config, averaged });
  const step_size = stepSizes(config.langevin, config.langevin.stepSize);
  return await inBatches(
    config,
    z,
    async (batch) => (await engine.run(program, { z: batch, step_size }, options.signal))["images"]!,
  );
}

/** Runs whole batches, the last one padded with zeros. */
async function inBatches(
  config: CoopFlowConfig,
  all: Float32Array,
  run: (batch: Float32Array<ArrayBuffer>, first: number) => Promise<Float32Array>,
): Promise<Float32Array<ArrayBuffer>> {
  const { values } = pixelsOf(config);
  const size = config.training.batch * values;
  const out = new Float32Array(all.length);
  for (let at = 0; at < all.length; at += size) {
    const part = all.subarray(at, at + size);
    const batch = new Float32Array(size);
    batch.set(part);
    out.set((await run(batch, at / values)).subarray(0, part.length), at);
  }
  return out;
}
