/** Data sets in NumPy's `.npy` and `.npz` files. */

import { readFile } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { ByteStream } from "../io/byte_stream.ts";
import { listOf, NpzArchive, readNpy } from "../io/npy.ts";
import { shown } from "../io/shown.ts";
import { systemReason } from "../io/system_error.ts";
import type { OpenedSplit } from "./dataset.ts";
import { tensorImages } from "./tensor_images.ts";

/** Names that images to train on have, the best first. */
const TRAIN_NAMES = ["images", "x_train", "train_images", "X_train", "train_x", "data", "x", "X", "arr_0"] as const;
/** Names that held-out images have. */
const HELD_OUT_NAMES = ["x_test", "test_images", "X_test", "test_x"] as const;
const REMEDY = "expected 3 dimensions, or 1 or 3 channels, first or last";

/** Opens an `.npy` file. */
export async function openNpy(path: string, levels: number | undefined): Promise<OpenedSplit> {
  await using file = await ByteStream.open(path);
  const statement = { levels, tensor: "an array", remedy: REMEDY };
  const { dataset, description } = tensorImages(path, await readNpy(file), statement);
  return { train: dataset, heldout: undefined, description };
}

/** Opens an `.npz` archive: the array with the best known name, or the only one. */
export async function openNpz(path: string, levels: number | undefined): Promise<OpenedSplit> {
  const bytes = await readFile(path).catch((error) => {
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  });
  const archive = new NpzArchive(path, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const { names } = archive;
  const name = TRAIN_NAMES.find((known) => names.includes(known)) ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined) {
    throw new DataError(`${path}: expected an array named ${TRAIN_NAMES.join(", ")}, found ${listOf(names)}`);
  }
  const apart = HELD_OUT_NAMES.find((known) => names.includes(known));
  const open = async (array: string) =>
    tensorImages(path, await archive.read(array), { levels, tensor: `array ${shown(array)}`, remedy: REMEDY });
  const train = await open(name);
  const heldout = apart === undefined ? undefined : (await open(apart)).dataset;
  const text = heldout === undefined ? "" : `, ${heldout.count} images held out (array ${apart})`;
  return { train: train.dataset, heldout, description: `${train.description} (array ${name})${text}` };
}
