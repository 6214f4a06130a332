/**
 * The Fréchet distance of raw pixels in [0, 1]: no network needed, so it suits small images. For scale, on the
 * built-in digits against the held-out ones: training digits 0.11, uniform noise about 10.
 */

import { type Dataset, imageElements, readAll } from "../data/dataset.ts";
import { DataError } from "../errors.ts";
import { frechetDistance, type Moments, momentsOf } from "./frechet.ts";

/**
 * Moments of images' pixels, mapped from [−1, 1] to [0, 1].
 *
 * @param images [count, …] values in [−1, 1]
 * @throws {DataError} as {@linkcode momentsOf}
 */
export function pixelMoments(images: Float32Array, count: number): Moments {
  const elements = images.length / count;
  if (!Number.isInteger(elements)) {
    throw new DataError(`expected ${count} images of one size, got ${images.length} values`);
  }
  return momentsOf(Float64Array.from(images, (value) => (value + 1) / 2), count, elements);
}

/** {@linkcode pixelMoments} of a whole data set. */
export function pixelMomentsOf(dataset: Dataset): Moments {
  return pixelMoments(readAll(dataset), dataset.count);
}

/**
 * Pixel Fréchet distance from images to reference moments.
 *
 * @param images [count, …] values in [−1, 1]
 * @param reference a data set, or its {@linkcode pixelMomentsOf} where it is used more than once
 */
export function pixelFrechetDistance(images: Float32Array, count: number, reference: Moments | Dataset): number {
  if (!("read" in reference)) return frechetDistance(pixelMoments(images, count), reference);
  if (images.length !== count * imageElements(reference)) {
    throw new DataError(
      `expected ${count} images of ${imageElements(reference)} values (${reference.name}), got ${images.length}`,
    );
  }
  return frechetDistance(pixelMoments(images, count), pixelMomentsOf(reference));
}
