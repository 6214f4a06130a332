/** What a data set holds, in numbers: for people who want to see it before they train on it. */

import { createHash } from "node:crypto";
import { type Dataset, imageElements } from "./dataset.ts";

/** One part of a data set. */
export interface Summary {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly levels: number;
  /** How many values have each level; `levels` counts. */
  readonly histogram: readonly number[];
  /** Mean level. */
  readonly mean: number;
  /** Lowest and highest level that occurs. */
  readonly range: readonly [number, number];
}

/** Reads every image once. */
export function summarise(dataset: Dataset): Summary {
  const { count, height, width, channels, levels } = dataset;
  const image = new Float32Array(imageElements(dataset));
  const histogram = new Float64Array(levels);
  const half = (levels - 1) / 2;
  for (let i = 0; i < count; i++) {
    dataset.read(i, image, 0);
    for (const value of image) {
      const level = Math.round((value + 1) * half);
      histogram[level] = (histogram[level] ?? 0) + 1;
    }
  }
  const total = histogram.reduce((sum, n) => sum + n, 0);
  const mean = histogram.reduce((sum, n, level) => sum + n * level, 0) / total;
  const range = [histogram.findIndex((n) => n > 0), histogram.findLastIndex((n) => n > 0)] as const;
  return { count, height, width, channels, levels, histogram: [...histogram], mean, range };
}

/** Images that a fingerprint looks at. */
const SAMPLED = 256;

/**
 * A hash that tells data sets apart: of their sizes and of up to 256 images, evenly spread. A run compares it when it goes on, because other data
 * would give other batches.
 */
export function fingerprintOf(dataset: Dataset): string {
  const { count, height, width, channels, levels } = dataset;
  const hash = createHash("sha256").update(JSON.stringify([count, height, width, channels, levels]));
  const image = new Float32Array(imageElements(dataset));
  const sampled = Math.min(SAMPLED, count);
  for (let i = 0; i < sampled; i++) {
    dataset.read(Math.floor(i * count / sampled), image, 0);
    hash.update(new Uint8Array(image.buffer));
  }
  return hash.digest("hex").slice(0, 32);
}
