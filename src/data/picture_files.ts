/** The files below a folder: pictures, and what is none with the reason. */

import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { isPicture } from "../io/picture.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import type { Unusable } from "./dataset.ts";
import { inOrder, throwIfCancelled, type Watch } from "./in_order.ts";

/** A file that begins like a picture. */
export interface PictureFile {
  /** Relative to the folder, with forward slashes. */
  readonly path: string;
  /** SHA-256 of its bytes. */
  readonly digest: string;
}

/** What a folder holds, sorted by path. */
export interface PictureFiles {
  readonly pictures: readonly PictureFile[];
  readonly unusable: readonly Unusable[];
}

/** Files that systems leave in folders. */
const LEFT_OUT = /^\.|^(?:Thumbs\.db|desktop\.ini)$/i;
const HEAD_BYTES = 12;

/**
 * Looks through a folder and those below it, and reads the pictures. Hidden files are passed over; links are followed, but no folder is entered twice.
 *
 * @throws {DataError} if the folder itself can't be read
 * @throws {CancelledError} when the signal is given
 */
export async function findPictures(folder: string, { signal }: Watch): Promise<PictureFiles> {
  const search = new Search(folder);
  await search.run();
  const pictures: PictureFile[] = [];
  const unusable = search.unusable;
  for await (const file of inOrder(search.files.sort(byText), (path) => examine(folder, path))) {
    throwIfCancelled(signal);
    if ("reason" in file) unusable.push(file);
    else pictures.push(file);
  }
  return { pictures, unusable: unusable.sort((a, b) => byText(a.path, b.path)) };
}

/** What a file that was found is. */
async function examine(folder: string, path: string): Promise<PictureFile | Unusable> {
  try {
    const file = await open(join(folder, path), "r");
    try {
      const head = new Uint8Array(HEAD_BYTES);
      const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
      if (bytesRead === 0) return { path, reason: "empty" };
      if (!isPicture(head.subarray(0, bytesRead))) return { path, reason: "no PNG, JPEG or WebP picture" };
      return { path, digest: digestOf(await file.readFile()) };
    } finally {
      await file.close();
    }
  } catch (error) {
    return { path, reason: `can't be read: ${systemReason(error)}` };
  }
}

/** SHA-256. */
export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

class Search {
  readonly files: string[] = [];
  readonly unusable: Unusable[] = [];
  readonly #folder: string;
  readonly #entered = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async run(): Promise<void> {
    try {
      await this.#enter("", await stat(this.#folder));
    } catch (error) {
      throw new DataError(`cannot read ${this.#folder}: ${systemReason(error)}`, { cause: error });
    }
  }

  async #enter(path: string, status: Stats): Promise<void> {
    const identity = `${status.dev}:${status.ino}`;
    if (this.#entered.has(identity)) {
      this.unusable.push({ path, reason: "a link to a folder that is read already" });
      return;
    }
    this.#entered.add(identity);
    const entries = await readdir(join(this.#folder, path), { withFileTypes: true });
    const visible = entries.filter(({ name }) => !LEFT_OUT.test(name));
    const below = (name: string): string => path === "" ? name : `${path}/${name}`;
    for (const entry of visible) if (entry.isFile()) this.files.push(below(entry.name));
    // Links after folders, so that a folder is entered where it really is.
    const others = visible.filter((entry) => !entry.isFile());
    for (const isLink of [false, true]) {
      for (const entry of others) if (entry.isSymbolicLink() === isLink) await this.#visit(below(entry.name));
    }
  }

  async #visit(path: string): Promise<void> {
    try {
      const status = await stat(join(this.#folder, path));
      if (status.isDirectory()) await this.#enter(path, status);
      else if (status.isFile()) this.files.push(path);
      else this.unusable.push({ path, reason: "neither a file nor a folder" });
    } catch (error) {
      const reason = systemCode(error) === "ELOOP"
        ? "a link that leads to itself"
        : `can't be read: ${systemReason(error)}`;
      this.unusable.push({ path, reason });
    }
  }
}
