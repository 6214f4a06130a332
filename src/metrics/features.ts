/** Sets of feature vectors, in memory or in a file, read in blocks so that size does not matter. */

import { CoopFlowError, DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";

/** Vectors of one length. */
export interface FeatureSet {
  /** n */
  readonly count: number;
  /** d */
  readonly dimension: number;
  /** Vectors `first` … `first + n − 1`, row by row: [n, d]. The caller may keep but not change them. */
  read(first: number, n: number): Float32Array | Float64Array;
}

/** Vectors per block wherever a set is gone through. */
export const BLOCK = 256;

/**
 * A set in memory.
 *
 * @param values [n, d], row by row
 * @throws {DataError} if there are no n·d values
 */
export function featureSet(values: Float32Array | Float64Array, count: number, dimension: number): FeatureSet {
  if (
    !Number.isInteger(count) || count < 1 || !Number.isInteger(dimension) || dimension < 1 ||
    values.length !== count * dimension
  ) {
    throw new DataError(`expected ${count}×${dimension} = ${count * dimension} features, got ${values.length}`);
  }
  return { count, dimension, read: (first, n) => values.subarray(first * dimension, (first + n) * dimension) };
}

/** The first n vectors of a set. */
export function firstOf(set: FeatureSet, n: number): FeatureSet {
  const { dimension } = set;
  return { count: Math.min(n, set.count), dimension, read: (first, count) => set.read(first, count) };
}

/** Some vectors of a set, copied into memory. */
export function chosen(set: FeatureSet, indices: ArrayLike<number>): FeatureSet {
  const values = new Float64Array(indices.length * set.dimension);
  for (let i = 0; i < indices.length; i++) values.set(set.read(indices[i] ?? 0, 1), i * set.dimension);
  return featureSet(values, indices.length, set.dimension);
}

/** Begin and length of each block of a set. */
export function* blocks(count: number, size: number = BLOCK): Generator<readonly [first: number, n: number]> {
  for (let first = 0; first < count; first += size) yield [first, Math.min(size, count - first)];
}

/** Throws DataError unless all sets have vectors of one length. */
export function expectOneDimension(...sets: readonly FeatureSet[]): void {
  const other = sets.find(({ dimension }) => dimension !== sets[0]?.dimension);
  if (other !== undefined) {
    throw new DataError(`expected features of one dimension, got ${sets[0]?.dimension} and ${other.dimension}`);
  }
}

/**
 * Vectors in a temporary file: written once, in order, then read in any. Float32. Closing removes the file.
 */
export class FeatureFile implements FeatureSet, Disposable {
  readonly dimension: number;
  readonly #file: Deno.FsFile;
  #count = 0;

  private constructor(file: Deno.FsFile, dimension: number) {
    this.#file = file;
    this.dimension = dimension;
  }

  /** Makes an empty one in the system's folder for temporary files (`TMPDIR`). */
  static create(dimension: number): FeatureFile {
    return writing(() => {
      const path = Deno.makeTempFileSync({ prefix: "coopflow-features-" });
      const file = Deno.openSync(path, { read: true, write: true });
      // Open files stay readable without a name, and vanish with the process however that ends.
      Deno.removeSync(path);
      return new FeatureFile(file, dimension);
    });
  }

  get count(): number {
    return this.#count;
  }

  /** Appends vectors, row by row. Throws DataError when their length does not fit or one is not finite, CoopFlowError if the disk is full. */
  append(values: Float32Array): void {
    const n = values.length / this.dimension;
    if (!Number.isInteger(n)) {
      throw new DataError(`expected vectors of ${this.dimension} features, got ${values.length} values`);
    }
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      const [sample, feature] = [this.#count + Math.floor(bad / this.dimension), bad % this.dimension];
      throw new DataError(`expected finite features, found ${values[bad]} in sample ${sample}, feature ${feature}`);
    }
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    writing(() => {
      this.#file.seekSync(this.#count * this.dimension * 4, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    });
    this.#count += n;
  }

  read(first: number, n: number): Float32Array {
    const values = new Float32Array(n * this.dimension);
    this.#file.seekSync(first * this.dimension * 4, Deno.SeekMode.Start);
    const bytes = new Uint8Array(values.buffer);
    for (let at = 0; at < bytes.length;) {
      const got = this.#file.readSync(bytes.subarray(at));
      if (got === null) throw new DataError(`expected features ${first} to ${first + n - 1}, found ${this.#count}`);
      at += got;
    }
    return values;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function writing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new CoopFlowError(
      `cannot write features to the folder for temporary files: ${
        systemReason(error)
      }; make room, or set TMPDIR to another folder`,
      { cause: error },
    );
  }
}
