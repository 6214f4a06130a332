/** Opens a data set at a path, in whatever format it is. */

import { readdir, stat } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import { isCifar10, openCifar10 } from "./format_cifar10.ts";
import type { DescribedSplit } from "./dataset.ts";
import { openSafetensorsDataset } from "./format_safetensors.ts";

/** A data set that was opened from a path. */
export interface OpenedDataset extends DescribedSplit {
  /** The format's name. */
  readonly format: string;
}

/** What a path is, before it is opened. */
interface Candidate {
  readonly path: string;
  /** Names in the folder; absent for a file. */
  readonly entries?: readonly string[];
}

/** One kind of data. The first that recognises a path opens it. */
interface Format {
  readonly name: string;
  /** What to look for, for the message when nothing fits. */
  readonly expects: string;
  recognises(candidate: Candidate): boolean;
  open(path: string): Promise<DescribedSplit>;
}

const FORMATS: readonly Format[] = [
  {
    name: "safetensors",
    expects: "a .safetensors file",
    recognises: ({ path, entries }) => entries === undefined && path.toLowerCase().endsWith(".safetensors"),
    open: (path) => openSafetensorsDataset(path),
  },
  {
    name: "CIFAR-10 binary",
    expects: "a folder with CIFAR-10's data_batch_*.bin",
    recognises: ({ entries }) => entries !== undefined && isCifar10(entries),
    open: openCifar10,
  },
];

/**
 * Opens a data set; the result says which format was recognised.
 *
 * @param path a file or folder in one of the formats of `README.md` beside this file
 * @throws {DataError} in one line, if the path is missing, no known format, or its content is damaged, empty, of
 * inconsistent size or not finite
 */
export async function openDataset(path: string): Promise<OpenedDataset> {
  const candidate = await inspect(path);
  const format = FORMATS.find((known) => known.recognises(candidate));
  if (format === undefined) throw new DataError(unrecognised(candidate));
  return { format: format.name, ...await format.open(path) };
}

async function inspect(path: string): Promise<Candidate> {
  try {
    return (await stat(path)).isDirectory() ? { path, entries: await readdir(path) } : { path };
  } catch (error) {
    throw new DataError(`cannot read data from ${path}: ${systemReason(error)}`, { cause: error });
  }
}

function unrecognised({ path, entries }: Candidate): string {
  const expected = FORMATS.map((format) => format.expects).join(" or ");
  if (entries === undefined) return `${path}: expected ${expected}, found another kind of file`;
  if (entries.includes("data_batch_1")) {
    return `${path}: this is CIFAR-10's Python version; download its binary version (data_batch_1.bin …)`;
  }
  if (entries.length === 0) return `${path}: expected ${expected}, found an empty folder`;
  const shown = entries.toSorted().slice(0, 3).join(", ") + (entries.length > 3 ? ", …" : "");
  return `${path}: expected ${expected}, found a folder with ${shown}`;
}
