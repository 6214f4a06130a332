/** Pictures to test with. */
import sharp, { type Sharp } from "sharp";
import { assert, assertEquals } from "@std/assert";
import type { Dataset } from "../../src/data/dataset.ts";

/** Rows and columns of the images that are made of them. */
export const SIZE = 8;

/** A picture whose left half is `left`, the right half `right`. */
export function halves(left: readonly number[], right: readonly number[], width = 2 * SIZE, height = 2 * SIZE): Sharp {
  const channels = left.length as 1 | 2 | 3 | 4;
  const row = Array.from({ length: width }, (_, x) => x < width / 2 ? left : right).flat();
  const data = Uint8Array.from({ length: height * row.length }, (_, i) => row[i % row.length] ?? 0);
  return sharp(data, { raw: { width, height, channels } });
}

export const RED = [255, 0, 0];
export const BLUE = [0, 0, 255];

/** First level of each channel of the pixel in the middle of a side of image `index`. */
export function pixel(dataset: Dataset, index: number, side: "left" | "right" | "top" | "bottom"): number[] {
  const { height, width, channels } = dataset;
  const image = new Float32Array(height * width * channels);
  dataset.read(index, image, 0);
  const y = side === "top" ? 0 : side === "bottom" ? height - 1 : height >> 1;
  const x = side === "left" ? 0 : side === "right" ? width - 1 : width >> 1;
  const at = (y * width + x) * channels;
  return Array.from(image.subarray(at, at + channels), (value) => Math.round((value + 1) * 127.5));
}

/** Equal but for what conversion and compression change. */
export function assertNear(found: readonly number[], expected: readonly number[], tolerance = 3): void {
  assertEquals(found.length, expected.length);
  found.forEach((value, c) =>
    assert(Math.abs(value - (expected[c] ?? NaN)) <= tolerance, `${found} is not ${expected}`)
  );
}
