/**
 * CIFAR-10's binary version: files of records, each a label byte and 3×32×32 pixels, plane after plane
 * (A. Krizhevsky: "Learning multiple layers of features from tiny images", 2009).
 */

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import { type Dataset, type DescribedSplit, fromLevels } from "./dataset.ts";

const SIZE = 32;
const CHANNELS = 3;
const PIXELS = SIZE * SIZE;
const RECORD_BYTES = 1 + CHANNELS * PIXELS;
const CLASSES = 10;
const TRAIN_FILE = /^data_batch_\d+\.bin$/;
const TEST_FILE = "test_batch.bin";

/** Whether a folder with these names in it looks like CIFAR-10's binary version. */
export function isCifar10(names: readonly string[]): boolean {
  return names.some((name) => TRAIN_FILE.test(name));
}

/** Opens the folder: `data_batch_*.bin` for training, `test_batch.bin`, if there, held out. */
export async function openCifar10(folder: string): Promise<DescribedSplit> {
  const names = await reading(folder, () => readdir(folder));
  const trainFiles = names.filter((name) => TRAIN_FILE.test(name)).sort((a, b) => batchNumber(a) - batchNumber(b));
  if (trainFiles.length === 0) throw new DataError(`${folder}: expected data_batch_*.bin, found none`);
  const train = await load(folder, trainFiles, "training");
  const heldout = names.includes(TEST_FILE) ? await load(folder, [TEST_FILE], "held out") : undefined;
  const files = `${trainFiles.length} training file${trainFiles.length === 1 ? "" : "s"}`;
  const test = heldout === undefined ? `no ${TEST_FILE}` : `${heldout.count} images held out (${TEST_FILE})`;
  return { train, heldout, description: `${train.count} images of 32×32×3 in ${files}, ${test}` };
}

async function load(folder: string, files: readonly string[], part: string): Promise<Dataset> {
  // Sizes first, so that a folder of the wrong kind is refused before it is read.
  let records = 0;
  for (const file of files) records += await countRecords(join(folder, file));
  const data = new Uint8Array(records * CHANNELS * PIXELS);
  let image = 0;
  for (const file of files) {
    const path = join(folder, file);
    const bytes = await reading(path, () => readFile(path));
    const count = Math.min(Math.floor(bytes.length / RECORD_BYTES), records - image);
    for (let record = 0; record < count; record++) {
      unpack(bytes.subarray(record * RECORD_BYTES, (record + 1) * RECORD_BYTES), data, image++, path, record);
    }
  }
  if (image !== records) throw new DataError(`${folder}: its files changed while they were read; try again`);
  return fromLevels({
    name: `${folder} (${part})`,
    height: SIZE,
    width: SIZE,
    channels: CHANNELS,
    levels: 256,
    data,
  });
}

function unpack(record: Uint8Array, data: Uint8Array, image: number, path: string, position: number): void {
  const label = record[0] ?? CLASSES;
  if (label >= CLASSES) {
    throw new DataError(
      `${path}: expected a label from 0 to ${CLASSES - 1} in record ${position}, found ${label}; ` +
        `is it CIFAR-10's binary version?`,
    );
  }
  const start = image * CHANNELS * PIXELS;
  for (let c = 0; c < CHANNELS; c++) {
    for (let p = 0; p < PIXELS; p++) data[start + p * CHANNELS + c] = record[1 + c * PIXELS + p] ?? 0;
  }
}

async function countRecords(path: string): Promise<number> {
  const { size } = await reading(path, () => stat(path));
  if (size === 0) throw new DataError(`${path}: expected CIFAR-10 records, found an empty file`);
  if (size % RECORD_BYTES !== 0) {
    throw new DataError(
      `${path}: expected a multiple of ${RECORD_BYTES} bytes (CIFAR-10 records), found ${size}; is the file cut short?`,
    );
  }
  return size / RECORD_BYTES;
}

function batchNumber(name: string): number {
  return Number(name.replaceAll(/\D/g, ""));
}

async function reading<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}
