/** The files below a folder: pictures, and what is none with the reason. */

import type { Stats } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { isPicture } from "../io/picture.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import type { Unusable } from "./dataset.ts";

/** What a folder holds; paths are relative to it, with forward slashes, sorted. */
export interface PictureFiles {
  /** Files that begin like pictures. */
  readonly pictures: readonly string[];
  readonly unusable: readonly Unusable[];
}

/** Files that systems leave in folders. */
const LEFT_OUT = /^\.|^(?:Thumbs\.db|desktop\.ini)$/i;
const HEAD_BYTES = 12;

/**
 * Looks through a folder and those below it. Hidden files are passed over; links are followed, but no folder is entered twice.
 *
 * @throws {DataError} if the folder itself can't be read
 */
export async function findPictures(folder: string): Promise<PictureFiles> {
  const search = new Search(folder);
  await search.enter("", await stat(folder).catch((error) => unreadable(folder, error)));
  const byPath = (a: string, b: string): number => a < b ? -1 : 1;
  return {
    pictures: search.pictures.sort(byPath),
    unusable: search.unusable.sort((a, b) => byPath(a.path, b.path)),
  };
}

class Search {
  readonly pictures: string[] = [];
  readonly unusable: Unusable[] = [];
  readonly #folder: string;
  readonly #entered = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async enter(path: string, status: Stats): Promise<void> {
    const identity = `${status.dev}:${status.ino}`;
    if (this.#entered.has(identity)) {
      this.unusable.push({ path, reason: "a link to a folder that is read already" });
      return;
    }
    this.#entered.add(identity);
    const entries = await readdir(join(this.#folder, path), { withFileTypes: true }).catch((error) => {
      if (path === "") unreadable(this.#folder, error);
      this.unusable.push({ path, reason: `can't be read: ${systemReason(error)}` });
      return [];
    });
    // Links last, so that a folder is entered where it really is.
    const links = entries.filter((entry) => entry.isSymbolicLink());
    for (const entry of [...entries.filter((entry) => !entry.isSymbolicLink()), ...links]) {
      if (!LEFT_OUT.test(entry.name)) await this.#visit(path === "" ? entry.name : `${path}/${entry.name}`);
    }
  }

  async #visit(path: string): Promise<void> {
    try {
      const status = await stat(join(this.#folder, path));
      if (status.isDirectory()) await this.enter(path, status);
      else if (!status.isFile()) this.unusable.push({ path, reason: "neither a file nor a folder" });
      else if (status.size === 0) this.unusable.push({ path, reason: "empty" });
      else if (isPicture(await headOf(join(this.#folder, path)))) this.pictures.push(path);
      else this.unusable.push({ path, reason: "no PNG, JPEG or WebP picture" });
    } catch (error) {
      const reason = systemCode(error) === "ELOOP"
        ? "a link that leads to itself"
        : `can't be read: ${systemReason(error)}`;
      this.unusable.push({ path, reason });
    }
  }
}

async function headOf(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function unreadable(folder: string, error: unknown): never {
  throw new DataError(`cannot read ${folder}: ${systemReason(error)}`, { cause: error });
}
