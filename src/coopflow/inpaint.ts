/** Completing images of which a part is hidden. */
import { DataError, UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "./config.ts";
import { type Found, pixelsOf, repeated, search, type Searched, type SearchOptions } from "./search.ts";
import { INPAINTING } from "./search_defaults.ts";

/** Completions of each image. */
const COMPLETIONS = 20;

/** How to complete images. */
export interface InpaintOptions extends SearchOptions {
  /** Completions of each image, each from a start of its own. Default 20. */
  readonly completions?: number;
}

/** See {@linkcode CoopFlow.inpaint}. */
export async function inpaintImages(
  model: Searched,
  images: Float32Array,
  hidden: ArrayLike<number | boolean>,
  options: InpaintOptions,
): Promise<Found> {
  const { completions = COMPLETIONS, ...how } = options;
  if (!Number.isSafeInteger(completions) || completions < 1) {
    throw new UsageError(`completions: expected a whole number of at least 1, found ${completions}`);
  }
  const { values } = pixelsOf(model.config);
  const mask = observed(model.config, hidden);
  const targets = new Float32Array(images.length * completions);
  for (let i = 0; i < images.length / values; i++) {
    targets.set(repeated(images.subarray(i * values, (i + 1) * values), completions), i * completions * values);
  }
  const found = await search(model, targets, { defaults: INPAINTING, mask, beforeLast: true }, how);
  // What is observed is known, and put back.
  for (let i = 0; i < targets.length; i++) if (mask[i % values] === 1) found.images[i] = targets[i]!;
  return found;
}

/**
 * 1 where a value is not hidden: [height, width, channels].
 *
 * @throws {DataError} if that is none of them, or all
 */
export function observed(config: CoopFlowConfig, hidden: ArrayLike<number | boolean>): Float32Array {
  const { size } = pixelsOf(config);
  const { height, width, channels } = config.data;
  if (hidden.length !== size) {
    throw new DataError(`mask: expected ${height}×${width} = ${size} pixels, found ${hidden.length}`);
  }
  const mask = Float32Array.from({ length: size * channels }, (_, i) => (hidden[Math.floor(i / channels)] ? 0 : 1));
  const seen = mask.reduce((sum, v) => sum + v, 0);
  if (seen === 0 || seen === mask.length) {
    const found = seen === 0 ? "all of them" : "none";
    throw new DataError(`mask: expected some pixels hidden and some not, found ${found} hidden; choose another mask`);
  }
  return mask;
}
