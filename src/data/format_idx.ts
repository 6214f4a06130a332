/** Data sets in IDX files, as MNIST and Fashion-MNIST come; compressed with gzip or not. */

import { join } from "node:path";
import { DataError } from "../errors.ts";
import { ByteStream } from "../io/byte_stream.ts";
import type { FileTensor } from "../io/tensor.ts";
import type { OpenedSplit } from "./dataset.ts";
import { type TensorImages, tensorImages } from "./tensor_images.ts";

const TRAIN_FILE = /^train-images[-.]idx[34]-ubyte(\.gz)?$/;
const TEST_FILE = /^t10k-images[-.]idx[34]-ubyte(\.gz)?$/;
const U8 = 0x08;
/** The type numbers of the format: unsigned and signed bytes, 16- and 32-bit integers, floats and doubles. */
const TYPES: readonly number[] = [U8, 0x09, 0x0b, 0x0c, 0x0d, 0x0e];

/** Whether a file that begins with `first` is an IDX file. */
export function isIdx(first: Uint8Array): boolean {
  const dimensions = first[3] ?? 0;
  return first[0] === 0 && first[1] === 0 && TYPES.includes(first[2] ?? 0) && dimensions >= 1 && dimensions <= 4;
}

/** Whether a folder with these names in it looks like MNIST's. */
export function isIdxFolder(names: readonly string[]): boolean {
  return names.some((name) => TRAIN_FILE.test(name));
}

/** Opens one file, or a folder: `train-images…` for training, `t10k-images…`, if there, held out. */
export async function openIdx(
  path: string,
  names: readonly string[] | undefined,
  levels: number | undefined,
): Promise<OpenedSplit> {
  if (names === undefined) {
    const { dataset, description } = await imagesOf(path, levels);
    return { train: dataset, heldout: undefined, description };
  }
  const [trainFile = ""] = names.filter((name) => TRAIN_FILE.test(name));
  const testFile = names.find((name) => TEST_FILE.test(name));
  const train = await imagesOf(join(path, trainFile), levels);
  const heldout = testFile === undefined ? undefined : (await imagesOf(join(path, testFile), levels)).dataset;
  const apart = heldout === undefined ? "none held out" : `${heldout.count} images held out (${testFile})`;
  return { train: train.dataset, heldout, description: `${train.description} (${trainFile}), ${apart}` };
}

async function imagesOf(path: string, levels: number | undefined): Promise<TensorImages> {
  await using file = await ByteStream.open(path);
  return tensorImages(path, await readIdx(file), {
    levels,
    tensor: "an array",
    remedy: "expected 3 dimensions, or 1 or 3 channels, first or last",
  });
}

/**
 * Reads an IDX file of bytes: 00 00 08, the number of dimensions, their sizes (32-bit, big-endian), the values.
 *
 * @throws {DataError} if it is cut short, goes on behind its values, or holds another type
 */
export async function readIdx(file: ByteStream): Promise<FileTensor> {
  const { label } = file;
  const start = await file.readAtMost(4);
  if (start.length < 4 || !isIdx(start)) throw new DataError(`${label}: expected an IDX file, found something else`);
  if (start[2] !== U8) {
    throw new DataError(`${label}: expected unsigned bytes (type 8), found type ${start[2]}`);
  }
  const dimensions = start[3] ?? 0;
  const sizes = new DataView((await file.read(4 * dimensions)).buffer);
  const shape = Array.from({ length: dimensions }, (_, i) => sizes.getUint32(4 * i, false));
  if (dimensions < 3) {
    const what = dimensions === 1 ? "a list (labels?)" : "a table";
    throw new DataError(`${label}: expected images (3 or 4 dimensions), found ${what} of ${shape.join("×")}`);
  }
  const bytes = await file.read(shape.reduce((product, size) => product * size, 1));
  if (!await file.ended()) {
    throw new DataError(`${label}: damaged: expected ${bytes.length} values (${shape.join("×")}), found more`);
  }
  return { dtype: "U8", shape, bytes };
}
