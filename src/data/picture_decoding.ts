/** Decodes the pictures of a folder, a few at a time, in the order of their names. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { decodePicture, type Picture, type PictureSpec } from "../io/picture.ts";
import { systemReason } from "../io/system_error.ts";
import type { Unusable } from "./dataset.ts";
import { inOrder, throwIfCancelled, type Watch } from "./in_order.ts";
import { digestOf, type PictureFile } from "./picture_files.ts";

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
  const bytes = await readFile(join(folder, path)).catch((error) => {
    throw new DataError(`cannot read ${join(folder, path)}: ${systemReason(error)}`, { cause: error });
  });
  if (digestOf(bytes) !== digest) throw new DataError(`${folder}: ${path} changed while it was read; try again`);
  try {
    return await decodePicture(bytes, spec);
  } catch (error) {
    if (error instanceof DataError) return { path, reason: error.message };
    throw error;
  }
}
