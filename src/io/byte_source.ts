/** A file that is read piece by piece. */
import { type FileHandle, open } from "node:fs/promises";
import type { ErrorClass } from "../errors.ts";
import { systemReason } from "./system_error.ts";

/** An open file of known size. Close it, or declare it `await using`. */
export class ByteSource implements AsyncDisposable {
  readonly path: string;
  /** Bytes of the file when it was opened. */
  readonly size: number;
  readonly fail: ErrorClass;
  readonly #handle: FileHandle;

  private constructor(path: string, size: number, handle: FileHandle, fail: ErrorClass) {
    this.path = path;
    this.size = size;
    this.fail = fail;
    this.#handle = handle;
  }

  /**
   * @param what the file should be, for errors: `a safetensors file`
   * @throws as `fail` if it can't be read
   */
  static async open(path: string, what: string, fail: ErrorClass): Promise<ByteSource> {
    const handle = await reading(path, fail, () => open(path, "r"));
    try {
      const status = await reading(path, fail, () => handle.stat());
      if (!status.isFile()) throw new fail(`${path}: expected ${what}, found something else`);
      return new ByteSource(path, status.size, handle, fail);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Bytes `from` … `to` − 1. */
  async read(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    if (!(from >= 0 && from <= to && to <= this.size)) {
      throw new this.fail(`${this.path}: cut short: it has ${this.size} bytes and should have ${to}`);
    }
    const bytes = new Uint8Array(to - from);
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await reading(
        this.path,
        this.fail,
        () => this.#handle.read(bytes, done, bytes.length - done, from + done),
      );
      if (bytesRead === 0) throw new this.fail(`${this.path}: cut short while it was read, at byte ${from + done}`);
      done += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function reading<T>(path: string, fail: ErrorClass, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new fail(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}
