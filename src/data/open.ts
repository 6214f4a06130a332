/** Opens a data set at a path, in whatever format it is. */

import { readdir, stat } from "node:fs/promises";
import { DataError, UsageError } from "../errors.ts";
import { ByteStream } from "../io/byte_stream.ts";
import { isMat } from "../io/mat5.ts";
import { isNpy } from "../io/npy.ts";
import { systemReason } from "../io/system_error.ts";
import { isTar } from "../io/tar.ts";
import type { DescribedSplit, OpenedSplit, Unusable } from "./dataset.ts";
import { cifar10Version, openCifar10Archive, openCifar10Folder } from "./format_cifar10.ts";
import { isIdx, isIdxFolder, openIdx } from "./format_idx.ts";
import { openNpy, openNpz } from "./format_numpy.ts";
import { openPictures, type PictureOptions } from "./format_pictures.ts";
import { openSafetensorsDataset } from "./format_safetensors.ts";
import { findPictures } from "./picture_files.ts";
import { isSvhnFolder, openSvhn } from "./format_svhn.ts";

/** How to open a data set. Sizes choose where the data leaves a choice; where it does not, the caller compares. */
export interface OpenOptions extends PictureOptions {
  /** Number of levels of arrays that do not say. Default: 256. */
  readonly levels?: number | undefined;
  /** Refuse a data set with files that can't be used, instead of leaving them out. */
  readonly strict?: boolean | undefined;
}

/** A data set that was opened from a path. Close it, or declare it with `using`. */
export interface OpenedDataset extends DescribedSplit, Disposable {
  /** The format's name. */
  readonly format: string;
  /** Files of the data set that could not be used, by path. */
  readonly unusable: readonly Unusable[];
  /** Closes files that images are read from. Closing twice does nothing. */
  close(): void;
}

/** What a path is, before it is opened. */
interface Candidate {
  readonly path: string;
  /** Names in the folder, sorted; absent for a file. */
  readonly entries?: readonly string[];
  /** How the file's content begins, unpacked if it is a gzip file; empty for a folder. */
  readonly head: Uint8Array;
}

/** One kind of data. The first that recognises a path opens it. */
interface Format {
  readonly name: string;
  /** What a file of it is called, for the message when nothing fits. */
  readonly file?: string;
  /** The same of a folder. */
  readonly folder?: string;
  recognises(candidate: Candidate): boolean;
  /** May find a more exact name of the format. */
  open(candidate: Candidate, options: OpenOptions): Promise<OpenedSplit & { readonly format?: string }>;
}

const HEAD_BYTES = 512;

const FORMATS: readonly Format[] = [
  {
    name: "safetensors",
    file: "safetensors",
    recognises: ({ path, entries }) => entries === undefined && hasEnd(path, ".safetensors"),
    open: ({ path }, { levels }) => openSafetensorsDataset(path, { levels }),
  },
  {
    name: "NumPy array",
    file: ".npy",
    recognises: ({ path, entries, head }) => isNpy(head) || (entries === undefined && hasEnd(path, ".npy")),
    open: ({ path }, { levels }) => openNpy(path, levels),
  },
  {
    name: "NumPy archive",
    file: ".npz",
    recognises: ({ path, entries }) => entries === undefined && hasEnd(path, ".npz"),
    open: ({ path }, { levels }) => openNpz(path, levels),
  },
  {
    name: "IDX",
    file: "IDX",
    folder: "MNIST's train-images-idx3-ubyte",
    recognises: ({ entries = [], head }) => isIdx(head) || isIdxFolder(entries),
    open: ({ path, entries }, { levels }) => openIdx(path, entries, levels),
  },
  {
    name: "SVHN",
    file: "SVHN's .mat",
    folder: "SVHN's train_32x32.mat",
    recognises: ({ path, entries, head }) =>
      isMat(head) || (entries === undefined ? hasEnd(path, ".mat") : isSvhnFolder(entries)),
    open: ({ path, entries }) => openSvhn(path, entries),
  },
  {
    name: "CIFAR-10 archive",
    file: "CIFAR-10's .tar.gz",
    recognises: ({ head }) => isTar(head),
    open: ({ path }) => openCifar10Archive(path),
  },
  {
    name: "CIFAR-10 binary",
    folder: "CIFAR-10's data_batch_*.bin",
    recognises: ({ entries = [] }) => cifar10Version(entries) === "binary",
    open: ({ path, entries = [] }) => openCifar10Folder(path, entries, "binary"),
  },
  {
    name: "CIFAR-10 Python",
    folder: "its Python version's data_batch_*",
    recognises: ({ entries = [] }) => cifar10Version(entries) === "Python",
    open: ({ path, entries = [] }) => openCifar10Folder(path, entries, "Python"),
  },
  {
    name: "pictures",
    folder: "PNG, JPEG or WebP pictures",
    recognises: ({ entries = [] }) => entries.length > 0,
    async open(candidate, options) {
      const found = await findPictures(candidate.path, options);
      if (found.pictures.length === 0) throw new DataError(unrecognised(candidate));
      return await openPictures(candidate.path, found, options);
    },
  },
];

/**
 * Opens a data set; the result says which format was recognised.
 *
 * @param path a file or folder in one of the formats of `README.md` beside this file
 * @throws {DataError} in one line, if the path is missing, no known format, or its content is damaged, empty, of
 * inconsistent size or not finite; if `strict`, also if a file of a folder of pictures can't be used
 * @throws {CancelledError} when the signal is given
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<OpenedDataset> {
  const candidate = await inspect(path);
  const format = FORMATS.find((known) => known.recognises(candidate));
  if (format === undefined) throw new DataError(unrecognised(candidate));
  const opened = await format.open(candidate, options);
  const { unusable = [], close = () => {} } = opened;
  try {
    // Only formats that decode pictures tell of files that can't be used.
    if (opened.unusable === undefined) expectNoPictureOptions(path, format.name, options);
    if (options.strict === true) expectAllUsable(path, unusable);
  } catch (error) {
    close();
    throw error;
  }
  return { ...opened, format: opened.format ?? format.name, unusable, close, [Symbol.dispose]: close };
}

/** How many files could not be used, and which, in one line. */
export function unusableText(unusable: readonly Unusable[]): string {
  const shown = unusable.slice(0, SHOWN).map(({ path, reason }) => `${path} (${reason})`).join(", ");
  const more = unusable.length > SHOWN ? `, … (${unusable.length - SHOWN} more)` : "";
  return `${unusable.length} file${unusable.length === 1 ? "" : "s"} can't be used: ${shown}${more}`;
}

const SHOWN = 5;

function expectAllUsable(path: string, unusable: readonly Unusable[]): void {
  if (unusable.length > 0) throw new DataError(`${path}: ${unusableText(unusable)}; remove them, or do without strict`);
}

function expectNoPictureOptions(path: string, format: string, { crop, background }: OpenOptions): void {
  if (crop === undefined && background === undefined) return;
  const option = crop === undefined ? "background" : "crop";
  throw new UsageError(
    `${option}: expected a folder of pictures, found ${path} (${format}), whose images are read as they are`,
  );
}

async function inspect(path: string): Promise<Candidate> {
  try {
    if ((await stat(path)).isDirectory()) {
      return { path, entries: (await readdir(path)).sort(), head: new Uint8Array(0) };
    }
  } catch (error) {
    throw new DataError(`cannot read data from ${path}: ${systemReason(error)}`, { cause: error });
  }
  await using file = await ByteStream.open(path);
  return { path, head: await file.readAtMost(HEAD_BYTES) };
}

function hasEnd(path: string, end: string): boolean {
  return path.toLowerCase().endsWith(end);
}

function unrecognised({ path, entries }: Candidate): string {
  if (entries === undefined) {
    const files = FORMATS.flatMap(({ file = [] }) => file);
    return `${path}: expected a file of ${listOf(files)}, or a folder, found another kind of file`;
  }
  const expected = `a folder with ${listOf(FORMATS.flatMap(({ folder = [] }) => folder))}`;
  if (entries.length === 0) return `${path}: expected ${expected}, found an empty folder`;
  const shown = entries.slice(0, 3).join(", ") + (entries.length > 3 ? ", …" : "");
  return `${path}: expected ${expected}, found a folder with ${shown}`;
}

function listOf(names: readonly string[]): string {
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}
