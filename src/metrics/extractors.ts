/** From images to feature vectors. */

import type { ImageSize } from "../data/dataset.ts";
import { DataError } from "../errors.ts";

/** Turns images into vectors that distances are taken of. */
export interface FeatureExtractor {
  /** What to call the features, such as `pixels` or the network's file. */
  readonly name: string;
  /** What happens to an image before: how it is resized and scaled. */
  readonly preparation: string;
  /** What the Fréchet and the kernel distance of these features are called: FID is Inception's alone to be compared with. */
  readonly distances: { readonly frechet: string; readonly kernel: string };
  /** d */
  readonly dimension: number;
  /**
   * Feature vectors of images, [count, d].
   *
   * @param images [count, height, width, channels] values in [−1, 1]
   */
  extract(images: Float32Array, count: number): Promise<Float32Array>;
}

/** Beyond this a covariance takes minutes, and single pixels say little. */
const MOST_PIXEL_FEATURES = 256;

/** The pixels themselves, from 0 to 1; of large images, means over square windows. */
export function pixelFeatures({ height, width, channels }: ImageSize): FeatureExtractor {
  let side = 1;
  while (Math.ceil(height / side) * Math.ceil(width / side) * channels > MOST_PIXEL_FEATURES) side *= 2;
  const [rows, columns] = [Math.ceil(height / side), Math.ceil(width / side)];
  const elements = height * width * channels, dimension = rows * columns * channels;
  const pooled = (images: Float32Array, count: number): Float32Array => {
    const out = new Float32Array(count * dimension);
    for (let i = 0; i < count * elements; i++) {
      const [image, at] = [Math.floor(i / elements), i % elements];
      const [row, column, c] = [Math.floor(at / (width * channels)), Math.floor(at / channels) % width, at % channels];
      const [r, k] = [Math.floor(row / side), Math.floor(column / side)];
      // A window at the border may be smaller.
      const size = Math.min(side, height - r * side) * Math.min(side, width - k * side);
      const to = image * dimension + (r * columns + k) * channels + c;
      out[to] = (out[to] ?? 0) + ((images[i] ?? 0) + 1) / 2 / size;
    }
    return out;
  };
  return {
    name: "pixels",
    distances: { frechet: "Fréchet", kernel: "kernel" },
    preparation: `${side === 1 ? "not resized" : `means over ${side}×${side} pixels`}; values from 0 to 1`,
    dimension,
    extract(images, count): Promise<Float32Array> {
      if (images.length !== count * elements) {
        throw new DataError(`expected ${count} images of ${elements} values, got ${images.length} values`);
      }
      return Promise.resolve(side === 1 ? images.map((value) => (value + 1) / 2) : pooled(images, count));
    },
  };
}
