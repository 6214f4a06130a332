/**
 * Files that are either wholly written or not there: what a crash, a kill or a full disk may leave behind is a
 * temporary file, never half of a checkpoint.
 *
 * `node:fs` because it is the one file interface that Deno, Node and Bun share.
 */

import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { CoopFlowError } from "../errors.ts";
import { systemCode, systemReason } from "./system_error.ts";

/** What a writer given to {@linkcode writeAtomic} writes to, front to back. */
export interface AtomicFile {
  /** Bytes written so far. */
  readonly position: number;
  /** Appends all of `bytes`. */
  write(bytes: Uint8Array): Promise<void>;
}

/** How a file is written. */
export interface WriteOptions {
  /** Wait until the file is on disk. Default true; false for what is made again if a power cut takes it. */
  readonly sync?: boolean;
}

const TEMPORARY = /^\..*\.\d+-\d+\.tmp$/;
let lastSerial = 0;

/**
 * Writes a file so that `path` holds, at every moment, either its old content (or nothing) or all of the new one:
 * the bytes go to a temporary file in the same folder, are synced to disk, renamed, and the folder is synced.
 *
 * @param path the file to create or replace; its folder must exist
 * @param content the bytes, or a function that writes them piece by piece
 * @throws {CoopFlowError} naming path and reason if the system refuses; an error thrown by `content` itself passes
 * through. In both cases the temporary file is removed and `path` is as it was
 */
export async function writeAtomic(
  path: string,
  content: Uint8Array | ((file: AtomicFile) => Promise<void>),
  { sync = true }: WriteOptions = {},
): Promise<void> {
  const folder = dirname(path);
  const { handle, temporary } = await system(path, () => createTemporary(folder, basename(path)));
  try {
    try {
      const file = new SequentialFile(handle, path);
      if (typeof content === "function") await content(file);
      else await file.write(content);
      if (sync) await system(path, () => handle.sync());
    } finally {
      await handle.close();
    }
    await system(path, () => rename(temporary, path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  if (sync) await system(path, () => syncFolder(folder));
}

/**
 * Syncs a folder, so that files created in or renamed into it survive a power cut. Does nothing on Windows, which
 * has no such call.
 */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Removes what killed writers left behind in `folder`. Only for a folder that no other process writes to (a run
 * directory whose lock is held).
 *
 * @returns the names of the removed files
 */
export async function removeTemporaries(folder: string): Promise<string[]> {
  const names = (await system(folder, () => readdir(folder))).filter((name) => TEMPORARY.test(name)).sort();
  for (const name of names) await system(join(folder, name), () => rm(join(folder, name), { force: true }));
  return names;
}

class SequentialFile implements AtomicFile {
  position = 0;
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async write(bytes: Uint8Array): Promise<void> {
    // One write may take fewer bytes than it was given: the system's limit is about 2 GiB.
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await system(
        this.#path,
        () => this.#handle.write(bytes, done, bytes.length - done, this.position),
      );
      done += bytesWritten;
      this.position += bytesWritten;
    }
  }
}

async function createTemporary(folder: string, name: string): Promise<{ handle: FileHandle; temporary: string }> {
  for (;;) {
    const temporary = join(folder, `.${name}.${process.pid}-${++lastSerial}.tmp`);
    try {
      // Exclusive: a process with our number on another machine may share the folder.
      return { handle: await open(temporary, "wx"), temporary };
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw error;
    }
  }
}

/**
 * Does something to a file.
 *
 * @throws {CoopFlowError} naming path and reason if the system refuses
 */
export async function system<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new CoopFlowError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
}
