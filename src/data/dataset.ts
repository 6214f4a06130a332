/** Data sets: images of one size, each value one of a fixed number of levels. */

import { DataError } from "../errors.ts";

/** A set of images that can be read one at a time. */
export interface Dataset {
  /** What to call it in messages. */
  readonly name: string;
  /** Number of images. */
  readonly count: number;
  readonly height: number;
  readonly width: number;
  /** 1 grey, 3 red-green-blue. */
  readonly channels: number;
  /** Number of levels of a value: 256 for 8-bit images. */
  readonly levels: number;
  /**
   * Writes image `index` to `into` from `offset` on: height·width·channels values, channels last, each
   * 2·level/(levels − 1) − 1 ∈ [−1, 1].
   *
   * @throws {DataError} if there is no such image or no room for it
   */
  read(index: number, into: Float32Array, offset: number): void;
}

/** The parts of a data set. */
export interface Split {
  readonly train: Dataset;
  /** Images never trained on, if the data sets some apart. */
  readonly heldout: Dataset | undefined;
}

/** A {@linkcode Split} and how it was read. */
export interface DescribedSplit extends Split {
  /** What was found, in a few words. */
  readonly description: string;
}

/** A file that a data set could not use. */
export interface Unusable {
  /** Relative to the data set's folder. */
  readonly path: string;
  readonly reason: string;
}

/** What opening a path gives. */
export interface OpenedSplit extends DescribedSplit {
  /** Files that could not be used. */
  readonly unusable?: readonly Unusable[];
  /** Closes files that images are read from. */
  readonly close?: () => void;
}

/** The size of a data set's images. */
export type ImageSize = Pick<Dataset, "height" | "width" | "channels">;

/** What {@linkcode fromLevels} makes a data set of. */
export interface LevelImages extends ImageSize {
  readonly name: string;
  readonly levels: number;
  /** count·height·width·channels levels, each below `levels`, image after image, channels last. Not copied. */
  readonly data: Uint8Array;
}

/** Values of one image. */
export function imageElements(size: ImageSize): number {
  return size.height * size.width * size.channels;
}

/**
 * A data set in memory.
 *
 * @throws {DataError} if a size is not positive, the data is empty or no whole number of images, or a level too high
 */
export function fromLevels(images: LevelImages): Dataset {
  const { name, height, width, channels, levels, data } = images;
  for (const [what, size] of Object.entries({ height, width, channels })) {
    if (!Number.isInteger(size) || size < 1) throw new DataError(`${name}: expected a positive ${what}, got ${size}`);
  }
  if (!Number.isInteger(levels) || levels < 2 || levels > 256) {
    throw new DataError(`${name}: expected 2 to 256 levels, got ${levels}`);
  }
  const elements = height * width * channels;
  if (data.length === 0) throw new DataError(`${name}: expected at least one image, found none`);
  if (data.length % elements !== 0) {
    throw new DataError(
      `${name}: expected a multiple of ${elements} values (${height}×${width}×${channels}), found ${data.length}`,
    );
  }
  const high = data.findIndex((level) => level >= levels);
  if (high >= 0) {
    throw new DataError(
      `${name}: expected levels 0 to ${levels - 1}, found ${data[high]} in image ${Math.floor(high / elements)}`,
    );
  }
  return new MemoryDataset(images, data.length / elements);
}

/**
 * Some of a data set's images, in the order of `indices`.
 *
 * @throws {DataError} if an index is out of range, or there are none
 */
export function subset(dataset: Dataset, name: string, indices: Uint32Array): Dataset {
  if (indices.length === 0) throw new DataError(`${name}: expected at least one image, found none`);
  const bad = indices.find((index) => index >= dataset.count);
  if (bad !== undefined) {
    throw new DataError(`${name}: expected indices below ${dataset.count} (the images of ${dataset.name}), got ${bad}`);
  }
  const { height, width, channels, levels } = dataset;
  return {
    name,
    count: indices.length,
    height,
    width,
    channels,
    levels,
    read(index, into, offset): void {
      checkRead(this, index, into, offset);
      dataset.read(indices[index] ?? 0, into, offset);
    },
  };
}

/** All images of a data set, one after the other: [count, height, width, channels] in [−1, 1]. */
export function readAll(dataset: Dataset): Float32Array<ArrayBuffer> {
  return readImages(dataset, 0, dataset.count);
}

/** Images `first` … `first` + `count` − 1: [count, height, width, channels] in [−1, 1]. */
export function readImages(dataset: Dataset, first: number, count: number): Float32Array<ArrayBuffer> {
  const elements = imageElements(dataset);
  const out = new Float32Array(count * elements);
  for (let i = 0; i < count; i++) dataset.read(first + i, out, i * elements);
  return out;
}

/**
 * Checks the arguments of a {@linkcode Dataset.read}, for implementations of it.
 *
 * @throws {DataError} if there is no such image or no room for it
 */
export function checkRead(dataset: Dataset, index: number, into: Float32Array, offset: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= dataset.count) {
    throw new DataError(`${dataset.name}: expected an image index from 0 to ${dataset.count - 1}, got ${index}`);
  }
  const elements = imageElements(dataset);
  if (!Number.isInteger(offset) || offset < 0 || offset + elements > into.length) {
    throw new DataError(
      `${dataset.name}: an image of ${elements} values at ${offset} does not fit an array of ${into.length}`,
    );
  }
}

/** The value of each level: 2·level/(levels − 1) − 1. */
export function levelValues(levels: number): Float32Array {
  return Float32Array.from({ length: levels }, (_, level) => 2 * level / (levels - 1) - 1);
}

class MemoryDataset implements Dataset {
  readonly name: string;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly levels: number;
  readonly #data: Uint8Array;
  readonly #values: Float32Array;

  constructor(images: LevelImages, count: number) {
    this.name = images.name;
    this.count = count;
    this.height = images.height;
    this.width = images.width;
    this.channels = images.channels;
    this.levels = images.levels;
    this.#data = images.data;
    this.#values = levelValues(images.levels);
  }

  read(index: number, into: Float32Array, offset: number): void {
    checkRead(this, index, into, offset);
    const elements = this.height * this.width * this.channels;
    const data = this.#data;
    const values = this.#values;
    const from = index * elements;
    for (let i = 0; i < elements; i++) into[offset + i] = values[data[from + i] ?? 0] ?? 0;
  }
}
