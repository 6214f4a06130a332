/**
 * Batches as a pure function of (seed, iteration): an endless stream of random permutations of the data set, cut into
 * batches that are always full. Resuming needs no state but the iteration.
 */

import { DataError, UsageError } from "../errors.ts";
import { permutation, uniforms } from "../random.ts";
import { type Dataset, imageElements } from "./dataset.ts";

const ORDER_STREAM = "data";
const FLIP_STREAM = "data.flip";

/**
 * The images of a batch: element j is element p = iteration·batch + j of the stream, which is
 * permutation(seed, "data", ⌊p / count⌋, count)[p mod count].
 *
 * @param iteration counted from 0
 * @param batch images per batch; may exceed `count`
 * @param count images in the data set
 * @throws {UsageError} if an argument is out of range
 */
export function batchIndices(seed: number, iteration: number, batch: number, count: number): Uint32Array<ArrayBuffer> {
  if (!Number.isSafeInteger(iteration) || iteration < 0) {
    throw new UsageError(`expected a non-negative iteration, got ${iteration}`);
  }
  if (!Number.isInteger(batch) || batch < 1) throw new UsageError(`expected a positive batch size, got ${batch}`);
  if (!Number.isInteger(count) || count < 1) {
    throw new UsageError(`expected a positive number of images, got ${count}`);
  }
  const out = new Uint32Array(batch);
  for (let done = 0; done < batch;) {
    const p = iteration * batch + done;
    const from = p % count;
    const order = cachedPermutation(seed, Math.floor(p / count), count);
    const part = order.subarray(from, Math.min(count, from + batch - done));
    out.set(part, done);
    done += part.length;
  }
  return out;
}

// A batch touches at most a few epochs, and the next one mostly the same.
const CACHE_SIZE = 4;
const cache: { seed: number; epoch: number; count: number; order: Uint32Array }[] = [];

function cachedPermutation(seed: number, epoch: number, count: number): Uint32Array {
  const found = cache.find((entry) => entry.seed === seed && entry.epoch === epoch && entry.count === count);
  if (found !== undefined) return found.order;
  const order = permutation(seed, ORDER_STREAM, epoch, count);
  cache.unshift({ seed, epoch, count, order });
  cache.length = Math.min(cache.length, CACHE_SIZE);
  return order;
}

/** One of several processes that learn together, each from its own part of every batch. */
export interface Shard {
  /** From 0. */
  readonly rank: number;
  /** How many processes there are. */
  readonly ranks: number;
}

/** Options of a {@linkcode BatchStream}. */
export interface BatchOptions {
  readonly seed: number;
  /** Images per batch. */
  readonly batch: number;
  /**
   * The batch is the `rank`-th part of a batch of `ranks`·`batch` images: together the processes see what one with that batch size would. Default: the
   * whole batch.
   */
  readonly shard?: Shard;
  /** Mirror each image left to right with probability ½ (the reference does on CIFAR-10 only). Default: no. */
  readonly flip?: boolean;
}

/** The training batches of a data set, in any order of asking. */
export class BatchStream {
  readonly dataset: Dataset;
  readonly seed: number;
  readonly batch: number;
  readonly flip: boolean;
  readonly shard: Shard;

  /** @throws {UsageError} if the batch size is not a positive integer, or there is no such rank */
  constructor(dataset: Dataset, options: BatchOptions) {
    const { seed, batch, flip = false, shard = { rank: 0, ranks: 1 } } = options;
    if (!Number.isInteger(batch) || batch < 1) throw new UsageError(`expected a positive batch size, got ${batch}`);
    const { rank, ranks } = shard;
    if (!Number.isInteger(ranks) || !Number.isInteger(rank) || rank < 0 || rank >= ranks) {
      throw new UsageError(`expected a rank from 0 to ${ranks - 1}, got ${rank}`);
    }
    this.dataset = dataset;
    this.seed = seed;
    this.batch = batch;
    this.flip = flip;
    this.shard = shard;
  }

  /** Values of a batch: batch·height·width·channels. */
  get elements(): number {
    return this.batch * imageElements(this.dataset);
  }

  /**
   * Fills `into` ([batch, height, width, channels], values in [−1, 1]) with the batch of an iteration.
   *
   * @returns the indices of its images
   * @throws {DataError} if `into` has another size
   */
  fill(iteration: number, into: Float32Array): Uint32Array {
    if (into.length !== this.elements) {
      throw new DataError(`expected room for a batch of ${this.elements} values, got ${into.length}`);
    }
    const { dataset, seed, batch } = this;
    const { rank, ranks } = this.shard;
    const first = rank * batch;
    const indices = batchIndices(seed, iteration, ranks * batch, dataset.count).subarray(first, first + batch);
    const elements = imageElements(dataset);
    for (const [j, index] of indices.entries()) {
      dataset.read(index, into, j * elements);
      if (this.flip && (uniforms(seed, FLIP_STREAM, 1, { sample: first + j, iteration })[0] ?? 1) < 0.5) {
        mirror(into.subarray(j * elements, (j + 1) * elements), dataset.width, dataset.channels);
      }
    }
    return indices;
  }
}

/** Mirrors an image [H, W, C] left to right, in place. */
function mirror(image: Float32Array, width: number, channels: number): void {
  const row = width * channels;
  for (let start = 0; start < image.length; start += row) {
    for (let left = 0; left < width - 1 - left; left++) {
      for (let c = 0; c < channels; c++) {
        const a = start + left * channels + c;
        const b = start + (width - 1 - left) * channels + c;
        const value = image[a] ?? 0;
        image[a] = image[b] ?? 0;
        image[b] = value;
      }
    }
  }
}
