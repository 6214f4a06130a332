/** safetensors files that are written row by row, too large to hold, and gone on with after an interruption. */

import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { CoopFlowError } from "../errors.ts";
import { syncFolder, system } from "./atomic.ts";
import { buildHeader } from "./safetensors_header.ts";
import { systemCode } from "./system_error.ts";
import { elementCount } from "./tensor.ts";

/** Bytes behind the tensors of an unfinished file: how many rows are complete. */
const FOOTER = 8;
/** Least time between two moments that a power cut may lead back to, in milliseconds. */
const MARK_INTERVAL = 2000;

/** What a file will hold: float32 tensors whose first dimension counts rows, and texts. */
export interface StreamContent {
  /** Shape of one row, by the tensor's name. */
  readonly rows: ReadonlyMap<string, readonly number[]>;
  readonly count: number;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Rows go to `PATH.part`, which becomes `PATH` when all are there. A process that opens the same file with the same content goes on where the last one,
 * however it ended, stopped. Close it, or declare it with `await using`.
 */
export class TensorStream implements AsyncDisposable {
  readonly path: string;
  readonly count: number;
  readonly #handle: FileHandle;
  /** First byte and bytes per row of each tensor. */
  readonly #places: ReadonlyMap<string, { readonly begin: number; readonly stride: number }>;
  /** One past the last byte of the tensors. */
  readonly #end: number;
  #done: number;
  #marked = performance.now();
  #complete = false;

  private constructor(path: string, handle: FileHandle, content: StreamContent, header: number, done: number) {
    this.path = path;
    this.count = content.count;
    this.#handle = handle;
    this.#done = done;
    let begin = header;
    this.#places = new Map([...content.rows].map(([name, shape]) => {
      const place = { begin, stride: 4 * elementCount(shape) };
      begin += content.count * place.stride;
      return [name, place];
    }));
    this.#end = begin;
  }

  /**
   * Opens the unfinished file, creating it if there is none.
   *
   * @throws {CoopFlowError} if what is there is of another content, or the system refuses
   */
  static async open(path: string, content: StreamContent): Promise<TensorStream> {
    const header = streamHeader(content);
    const part = partOf(path);
    const end = [...content.rows.values()].reduce(
      (sum, row) => sum + 4 * content.count * elementCount(row),
      header.length,
    );
    const handle = await system(part, () => openOrCreate(part));
    try {
      const { size } = await system(part, () => handle.stat());
      const ours = await startsWith(handle, header.subarray(0, size));
      let done = 0;
      if (ours && size <= header.length) {
        await writeAll(handle, part, header, 0);
        // The room is claimed when it is written; until then the file has holes.
        await system(part, () => handle.truncate(end + FOOTER));
        // Claimed now: how far it is can be noted even when the disk has become full.
        await writeAll(handle, part, new Uint8Array(FOOTER), end);
      } else if (ours && size === end) {
        done = content.count; // ended while it got its name
      } else {
        done = ours && size === end + FOOTER ? await readFooter(handle, end) : NaN;
        if (!(done <= content.count)) {
          throw new CoopFlowError(
            `${part}: expected what the same command left unfinished, found something else; remove it, or write elsewhere`,
          );
        }
      }
      return new TensorStream(path, handle, content, header.length, done);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Rows that are complete. */
  get done(): number {
    return this.#done;
  }

  /** Writes the rows from {@linkcode done} on: as many of each tensor. */
  async write(rows: ReadonlyMap<string, Float32Array>): Promise<void> {
    let added = 0;
    for (const [name, { begin, stride }] of this.#places) {
      const data = rows.get(name)!;
      added = 4 * data.length / stride;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await writeAll(this.#handle, this.#part, bytes, begin + this.#done * stride);
    }
    this.#done += added;
    if (performance.now() - this.#marked > MARK_INTERVAL) await this.#mark();
  }

  /** Rows `first` … `first` + `count` − 1 of one tensor. */
  async read(name: string, first: number, count: number): Promise<Float32Array<ArrayBuffer>> {
    const { begin, stride } = this.#places.get(name)!;
    const bytes = new Uint8Array(count * stride);
    await system(this.#part, () => this.#handle.read(bytes, 0, bytes.length, begin + first * stride));
    return new Float32Array(bytes.buffer);
  }

  /** Gives the complete file its name. */
  async finish(): Promise<void> {
    await system(this.#part, () => this.#handle.truncate(this.#end));
    this.#complete = true;
    await system(this.#part, () => this.#handle.sync());
    await system(this.path, () => rename(this.#part, this.path));
    await system(this.path, () => syncFolder(dirname(this.path)));
  }

  /** Removes the file, of which something else was made. */
  async discard(): Promise<void> {
    this.#complete = true;
    await system(this.#part, () => rm(this.#part, { force: true }));
  }

  /** Notes how far it is, unless it is complete. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#complete) await this.#mark();
    } finally {
      await this.#handle.close();
    }
  }

  get #part(): string {
    return partOf(this.path);
  }

  /** Rows are on the disk before the file says so. */
  async #mark(): Promise<void> {
    await system(this.#part, () => this.#handle.datasync());
    const footer = new Uint8Array(FOOTER);
    new DataView(footer.buffer).setBigUint64(0, BigInt(this.#done), true);
    await writeAll(this.#handle, this.#part, footer, this.#end);
    this.#marked = performance.now();
  }
}

/** Whether `PATH` is there and complete, with this content. */
export async function isWritten(path: string, content: StreamContent): Promise<boolean> {
  return await beginsWith(path, streamHeader(content));
}

/** Whether a file can be read and begins with these bytes. */
export async function beginsWith(path: string, bytes: Uint8Array): Promise<boolean> {
  const handle = await open(path, "r").catch(() => undefined);
  try {
    return handle !== undefined && await startsWith(handle, bytes);
  } finally {
    await handle?.close();
  }
}

function partOf(path: string): string {
  return `${path}.part`;
}

function streamHeader({ rows, count, metadata }: StreamContent): Uint8Array {
  const tensors = [...rows].map(([name, row]) => [name, { dtype: "F32" as const, shape: [count, ...row] }] as const);
  return buildHeader(new Map(tensors), metadata);
}

async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
    return await open(path, "wx+");
  }
}

async function startsWith(handle: FileHandle, bytes: Uint8Array): Promise<boolean> {
  const found = new Uint8Array(bytes.length);
  const { bytesRead } = await handle.read(found, 0, found.length, 0);
  return bytesRead === found.length && found.every((byte, i) => byte === bytes[i]);
}

async function readFooter(handle: FileHandle, at: number): Promise<number> {
  const footer = new Uint8Array(FOOTER);
  await handle.read(footer, 0, FOOTER, at);
  return Number(new DataView(footer.buffer).getBigUint64(0, true));
}

async function writeAll(handle: FileHandle, path: string, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await system(path, () => handle.write(bytes, done, bytes.length - done, at + done))).bytesWritten;
  }
}
