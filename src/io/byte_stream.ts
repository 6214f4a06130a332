/** Bytes that are read front to back: of a file, of what a compressed file holds, of a part of either. */

import { open } from "node:fs/promises";
import { Readable, type Transform } from "node:stream";
import { createGunzip, createInflate } from "node:zlib";
import { DataError } from "../errors.ts";
import { systemCode, systemReason } from "./system_error.ts";

/** What a byte of deflated data can become at most, by the format. */
export const MOST_INFLATION = 1032;
const GZIP_MAGIC = [0x1f, 0x8b] as const;
const CHUNK_BYTES = 2 ** 18;

type Chunks = AsyncIterator<Uint8Array, unknown, undefined>;

/** A stream of bytes. Errors are {@linkcode DataError}s that name the file. Close it, or declare it `await using`. */
export class ByteStream implements AsyncDisposable {
  /** What to call it in errors. */
  readonly label: string;
  readonly #chunks: Chunks;
  #chunk = new Uint8Array(0);
  #most: number;

  /** @param most no more bytes than these can come: what a header claims beyond is not even allocated */
  constructor(label: string, chunks: AsyncIterable<Uint8Array>, most: number) {
    this.label = label;
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#most = most;
  }

  /** The bytes of an array. */
  static of(label: string, bytes: Uint8Array): ByteStream {
    return new ByteStream(label, Readable.from([bytes]), bytes.length);
  }

  /**
   * The bytes of a file; of what it holds, if it is a gzip file.
   *
   * @throws {DataError} if it can't be read or is no file
   */
  static async open(path: string): Promise<ByteStream> {
    const { size, isGzip } = await inspect(path);
    if (!isGzip) return new ByteStream(path, translated(path, () => fileChunks(path)), size);
    return new ByteStream(
      path,
      translated(path, () => through(fileChunks(path), createGunzip())),
      size * MOST_INFLATION,
    );
  }

  /** No more bytes than these can come. */
  get most(): number {
    return this.#most;
  }

  /** Whether all bytes have been read. */
  async ended(): Promise<boolean> {
    return await this.#fill() === 0;
  }

  /** The next `count` bytes, the caller's own. */
  async read(count: number): Promise<Uint8Array<ArrayBuffer>> {
    if (count > this.#most) throw this.#cutShort(count, this.#most);
    const bytes = allocate(this.label, count);
    await this.readInto(bytes);
    return bytes;
  }

  /** The next `count` bytes, or all there are. */
  async readAtMost(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(Math.min(count, this.#most));
    let done = 0;
    while (done < bytes.length && await this.#fill() > 0) {
      const part = this.#take(bytes.length - done);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes.subarray(0, done);
  }

  /** Fills `into` with the next bytes. */
  async readInto(into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length;) {
      if (await this.#fill() === 0) throw this.#cutShort(into.length, done);
      const part = this.#take(into.length - done);
      into.set(part, done);
      done += part.length;
    }
  }

  /** Passes over the next `count` bytes. */
  async skip(count: number): Promise<void> {
    for (let done = 0; done < count;) {
      if (await this.#fill() === 0) throw this.#cutShort(count, done);
      done += this.#take(count - done).length;
    }
  }

  /** The next `count` bytes as a stream of their own; it must be read or skipped to its end before this one is read on. */
  part(count: number, label: string = this.label): ByteStream {
    return new ByteStream(label, this.#parts(count), Math.min(count, this.#most));
  }

  /** What these bytes hold, if they are zlib data. */
  inflated(): ByteStream {
    const chunks = translated(this.label, () => through(this.#parts(Infinity), createInflate()));
    return new ByteStream(this.label, chunks, this.#most * MOST_INFLATION);
  }

  /** Reads to the end and forgets what comes. */
  async drain(): Promise<void> {
    while (await this.#fill() > 0) this.#take(Infinity);
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async *#parts(count: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = count; left > 0;) {
      if (await this.#fill() === 0) {
        if (count === Infinity) return;
        throw this.#cutShort(count, count - left);
      }
      const part = this.#take(left);
      left -= part.length;
      yield part;
    }
  }

  /** Makes sure that there are bytes at hand; returns how many, 0 at the end. */
  async #fill(): Promise<number> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return 0;
      this.#chunk = new Uint8Array(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
    }
    return this.#chunk.length;
  }

  #take(most: number): Uint8Array {
    const part = this.#chunk.subarray(0, Math.min(most, this.#chunk.length));
    this.#chunk = this.#chunk.subarray(part.length);
    this.#most -= part.length;
    return part;
  }

  #cutShort(expected: number, found: number): DataError {
    return new DataError(`${this.label}: cut short: expected ${expected} more bytes, found at most ${found}`);
  }
}

/** @throws {DataError} if there is no memory for `bytes` */
export function allocate(label: string, bytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    throw new DataError(`${label}: its ${bytes} bytes do not fit into memory`, { cause: error });
  }
}

async function inspect(path: string): Promise<{ size: number; isGzip: boolean }> {
  try {
    const file = await open(path, "r");
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new DataError(`${path}: expected a file, found something else`);
      const { buffer } = await file.read(new Uint8Array(2), 0, 2, 0);
      return { size: status.size, isGzip: GZIP_MAGIC.every((byte, i) => buffer[i] === byte) };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}

async function* fileChunks(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await open(path, "r");
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(new Uint8Array(CHUNK_BYTES), 0, CHUNK_BYTES, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** What `into` makes of the chunks of `from`. */
function through(from: AsyncIterable<Uint8Array>, into: Transform): Transform {
  const source = Readable.from(from);
  source.on("error", (error) => into.destroy(error));
  into.on("close", () => source.destroy());
  return source.pipe(into);
}

/** The same chunks; what goes wrong in words. Nothing is opened before the first is asked for. */
async function* translated(
  label: string,
  chunks: () => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* chunks();
  } catch (error) {
    if (error instanceof DataError) throw error;
    const code = systemCode(error) ?? "";
    if (code === "Z_BUF_ERROR") {
      throw new DataError(`${label}: cut short: its compressed data ends early`, { cause: error });
    }
    if (code.startsWith("Z_")) {
      throw new DataError(`${label}: damaged: its compressed data can't be unpacked`, { cause: error });
    }
    throw new DataError(`cannot read ${label}: ${systemReason(error)}`, { cause: error });
  }
}
