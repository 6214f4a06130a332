/**
 * Reading and writing safetensors files: the one format of checkpoints, samplers and data sets.
 *
 * Readers throw a {@linkcode DataError} unless told to throw another class, such as {@linkcode CheckpointError}, for
 * anything that is wrong with a file.
 */

import { DataError, type ErrorClass, UsageError } from "../errors.ts";
import { writeAtomic } from "./atomic.ts";
import { ByteSource } from "./byte_source.ts";
import {
  buildHeader,
  headerLength,
  LENGTH_BYTES,
  nameProblem,
  parseHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from "./safetensors_header.ts";
import { DTYPE_BYTES, elementCount, type FileDtype, type FileTensor } from "./tensor.ts";

export { type FileDtype, type FileTensor, tensorOf, toFloat32, toFloat64, toIntegers } from "./tensor.ts";
export type { TensorEntry } from "./safetensors_header.ts";

/** A whole file in memory. */
export interface Safetensors {
  readonly tensors: ReadonlyMap<string, FileTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** How readers report what is wrong with a file. */
export interface ReadOptions {
  /** The class of the errors; {@linkcode DataError} where absent. */
  readonly fail?: ErrorClass;
}

/** A tensor to write: its bytes now, or a function that fetches them when their turn comes. */
export interface TensorToWrite {
  readonly dtype: FileDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/**
 * Parses a file that is in memory. The tensors are views of `bytes`.
 *
 * @param label what to call the file in errors
 */
export function parseSafetensors(bytes: Uint8Array, label: string, options: ReadOptions = {}): Safetensors {
  const fail = options.fail ?? DataError;
  const length = headerLength(bytes.subarray(0, LENGTH_BYTES), bytes.length, label, fail);
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length), bytes.length, label, fail);
  const tensors = new Map<string, FileTensor>();
  for (const [name, { dtype, shape, begin, end }] of header.tensors) {
    tensors.set(name, { dtype, shape, bytes: bytes.subarray(header.dataStart + begin, header.dataStart + end) });
  }
  return { tensors, metadata: header.metadata };
}

/** Reads a whole file, tensor by tensor. */
export async function readSafetensors(path: string, options: ReadOptions = {}): Promise<Safetensors> {
  await using file = await SafetensorsFile.open(path, options);
  const tensors = new Map<string, FileTensor>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  return { tensors, metadata: file.metadata };
}

/** An open file, its header read and checked; tensors are read one at a time. Close it, or declare it `await using`. */
export class SafetensorsFile implements AsyncDisposable {
  readonly #source: ByteSource;
  readonly #header: SafetensorsHeader;

  private constructor(source: ByteSource, header: SafetensorsHeader) {
    this.#source = source;
    this.#header = header;
  }

  /** Opens a file and checks its header against its size: a file that was cut short is refused here. */
  static async open(path: string, options: ReadOptions = {}): Promise<SafetensorsFile> {
    const fail = options.fail ?? DataError;
    const source = await ByteSource.open(path, "a safetensors file", fail);
    try {
      const { size } = source;
      const length = headerLength(await source.read(0, Math.min(LENGTH_BYTES, size)), size, path, fail);
      const json = await source.read(LENGTH_BYTES, LENGTH_BYTES + length);
      return new SafetensorsFile(source, parseHeader(json, size, path, fail));
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** The file. */
  get path(): string {
    return this.#source.path;
  }

  /** What the file holds, by name, in the order of the header. */
  get tensors(): ReadonlyMap<string, TensorEntry> {
    return this.#header.tensors;
  }

  /** The file's free-form texts. */
  get metadata(): ReadonlyMap<string, string> {
    return this.#header.metadata;
  }

  /** Reads one tensor. A missing name is an error that tells what there is. */
  async read(name: string): Promise<FileTensor> {
    const { dtype, shape, begin, end } = this.#entry(name);
    return { dtype, shape, bytes: await this.readBytes(name, 0, end - begin) };
  }

  /** Where the bytes of a tensor begin in the file. */
  startOf(name: string): number {
    return this.#header.dataStart + this.#entry(name).begin;
  }

  /** Reads bytes `from` … `to` − 1 of one tensor, for tensors too large to hold. */
  async readBytes(name: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const { begin, end } = this.#entry(name);
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to && to <= end - begin)) {
      throw new UsageError(`expected a range within the ${end - begin} bytes of ${name}, got [${from}, ${to}]`);
    }
    const start = this.#header.dataStart + begin;
    return await this.#source.read(start + from, start + to);
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #entry(name: string): TensorEntry {
    const entry = this.#header.tensors.get(name);
    if (entry !== undefined) return entry;
    const names = [...this.#header.tensors.keys()];
    const shown = names.slice(0, 8).join(", ") + (names.length > 8 ? `, … (${names.length})` : "");
    throw new this.#source.fail(
      `${this.path}: expected a tensor named ${name}, found ${shown === "" ? "none" : shown}`,
    );
  }
}

/**
 * Writes a file atomically, fetching one tensor at a time. The same tensors and metadata give the same bytes: tensors
 * are ordered by falling element size (which aligns each of them), then by name.
 *
 * @throws {UsageError} if a tensor's bytes do not fit its shape
 * @throws {CoopFlowError} naming path and reason if the system refuses; the old file stays
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  for (const name of tensors.keys()) {
    const problem = nameProblem(name);
    if (problem !== undefined) throw new UsageError(`${path}: ${problem}`);
  }
  const ordered = new Map(
    [...tensors].sort(([a, { dtype: d }], [b, { dtype: e }]) => DTYPE_BYTES[e] - DTYPE_BYTES[d] || (a < b ? -1 : 1)),
  );
  await writeAtomic(path, async (file) => {
    await file.write(buildHeader(ordered, metadata));
    for (const [name, tensor] of ordered) {
      const bytes = typeof tensor.bytes === "function" ? await tensor.bytes() : tensor.bytes;
      const expected = elementCount(tensor.shape) * DTYPE_BYTES[tensor.dtype];
      if (bytes.byteLength !== expected) {
        throw new UsageError(`${path}: expected ${expected} bytes for tensor ${name}, got ${bytes.byteLength}`);
      }
      await file.write(bytes);
    }
  });
}
