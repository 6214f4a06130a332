/** Decodes the pictures of a folder, a few at a time, in the order of their names. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CancelledError, DataError } from "../errors.ts";
import { decodePicture, type Picture, type PictureSpec } from "../io/picture.ts";
import { systemReason } from "../io/system_error.ts";
import type { Unusable } from "./dataset.ts";

/** Pictures in the works: enough to keep all cores busy. */
const AT_ONCE = 8;

/** How work on a folder is watched and stopped. */
export interface Watch {
  readonly signal?: AbortSignal | undefined;
  /** Told of each picture. */
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** A picture's file as it was when it was first read. */
export interface PictureFile {
  /** Relative to the folder. */
  readonly path: string;
  /** SHA-256 of its bytes. */
  readonly digest: string;
}

/**
 * Decodes pictures and hands them on one after the other.
 *
 * @returns those that can't be used
 */
export async function decodePictures(
  folder: string,
  files: readonly PictureFile[],
  spec: PictureSpec,
  watch: Watch,
  use: (picture: Picture) => Promise<void> | void,
): Promise<Unusable[]> {
  const unusable: Unusable[] = [];
  let done = 0;
  const decode = (file: PictureFile): Promise<Picture | Unusable> => decodeFile(folder, file, spec);
  for await (const result of inOrder(files, decode)) {
    throwIfCancelled(watch.signal);
    if ("reason" in result) unusable.push(result);
    else await use(result);
    watch.progress?.(++done, files.length);
  }
  return unusable;
}

async function decodeFile(
  folder: string,
  { path, digest }: PictureFile,
  spec: PictureSpec,
): Promise<Picture | Unusable> {
  const bytes = await readPicture(folder, path);
  if (digestOf(bytes) !== digest) throw new DataError(`${folder}: ${path} changed while it was read; try again`);
  try {
    return await decodePicture(bytes, spec);
  } catch (error) {
    if (error instanceof DataError) return { path, reason: error.message };
    throw error;
  }
}

/**
 * Reads the files for the first time.
 *
 * @throws {DataError} if one can't be read
 */
export async function digestPictures(folder: string, paths: readonly string[], watch: Watch): Promise<PictureFile[]> {
  const files: PictureFile[] = [];
  const digest = async (path: string): Promise<PictureFile> => ({
    path,
    digest: digestOf(await readPicture(folder, path)),
  });
  for await (const file of inOrder(paths, digest)) {
    throwIfCancelled(watch.signal);
    files.push(file);
  }
  return files;
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function readPicture(folder: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(join(folder, path));
  } catch (error) {
    throw new DataError(`cannot read ${join(folder, path)}: ${systemReason(error)}`, { cause: error });
  }
}

/** The results of `call` on each of `items`, in their order, while the next ones are already under way. */
async function* inOrder<T, R>(items: readonly T[], call: (item: T) => Promise<R>): AsyncGenerator<R, void, undefined> {
  const pending: Promise<R>[] = [];
  let next = 0;
  try {
    while (next < items.length || pending.length > 0) {
      for (; pending.length < AT_ONCE && next < items.length; next++) pending.push(call(items[next] as T));
      const first = pending.shift();
      if (first !== undefined) yield await first;
    }
  } finally {
    await Promise.allSettled(pending);
  }
}

function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError("cancelled while the pictures were read");
}
