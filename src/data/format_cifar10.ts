/** CIFAR-10: a folder or the archive as downloaded, in its binary or its Python version. */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { allocate, ByteStream } from "../io/byte_stream.ts";
import { systemReason } from "../io/system_error.ts";
import { tarFiles } from "../io/tar.ts";
import { CHANNELS, countRecords, readBinaryBatch, readPythonBatch, SIZE } from "./cifar10_batch.ts";
import { type Dataset, fromLevels, type OpenedSplit } from "./dataset.ts";

/** Which of the two versions. */
export type Cifar10Version = "binary" | "Python";

const TRAIN_FILE = { binary: /^data_batch_\d+\.bin$/, Python: /^data_batch_\d+$/ } as const;
const TEST_FILE = { binary: "test_batch.bin", Python: "test_batch" } as const;
const NAMES = { binary: "data_batch_*.bin", Python: "data_batch_*" } as const;

/** Which version a folder with these names in it holds, if any. */
export function cifar10Version(names: readonly string[]): Cifar10Version | undefined {
  return (["binary", "Python"] as const).find((version) => names.some((name) => TRAIN_FILE[version].test(name)));
}

/** Opens a folder: `data_batch_*` for training, `test_batch`, if there, held out. */
export async function openCifar10Folder(
  folder: string,
  names: readonly string[],
  version: Cifar10Version,
): Promise<OpenedSplit> {
  const train = names.filter((name) => TRAIN_FILE[version].test(name));
  const files = names.includes(TEST_FILE[version]) ? [...train, TEST_FILE[version]] : train;
  // Sizes first, so that a folder of the wrong kind is refused before it is read.
  for (const name of files) {
    const path = join(folder, name);
    const { size } = await reading(path, () => stat(path));
    if (version === "binary") countRecords(path, size);
  }
  const batches = new Map<string, Uint8Array>();
  for (const name of files) batches.set(name, await readBatch(join(folder, name), version));
  return splitOf(folder, version, batches);
}

/** Opens the archive; nothing is written to disk. */
export async function openCifar10Archive(path: string): Promise<OpenedSplit> {
  await using archive = await ByteStream.open(path);
  const batches: Record<Cifar10Version, Map<string, Uint8Array>> = { binary: new Map(), Python: new Map() };
  for await (const { path: inside, size, bytes } of tarFiles(archive)) {
    const name = inside.split("/").at(-1) ?? "";
    const version = (["binary", "Python"] as const).find((known) =>
      TRAIN_FILE[known].test(name) || name === TEST_FILE[known]
    );
    if (version === undefined) continue;
    const label = `${path}: ${name}`;
    if (batches[version].has(name)) throw new DataError(`${label}: expected this file once, found it twice`);
    const content = version === "binary"
      ? await readBinaryBatch(bytes, size)
      : readPythonBatch(label, await bytes.read(size));
    batches[version].set(name, content);
  }
  const version = cifar10Version([...batches.binary.keys(), ...batches.Python.keys()]);
  if (version === undefined) {
    throw new DataError(`${path}: expected an archive with CIFAR-10's data_batch_*, found none`);
  }
  return splitOf(path, version, batches[version]);
}

async function readBatch(path: string, version: Cifar10Version): Promise<Uint8Array> {
  if (version === "Python") return readPythonBatch(path, await reading(path, () => readFile(path)));
  const { size } = await reading(path, () => stat(path));
  await using file = await ByteStream.open(path);
  return await readBinaryBatch(file, size);
}

function splitOf(path: string, version: Cifar10Version, batches: ReadonlyMap<string, Uint8Array>): OpenedSplit {
  const names = [...batches.keys()].filter((name) => TRAIN_FILE[version].test(name));
  if (names.length === 0) throw new DataError(`${path}: expected ${NAMES[version]}, found none`);
  names.sort((a, b) => batchNumber(a) - batchNumber(b));
  const testBatch = batches.get(TEST_FILE[version]);
  const train = datasetOf(`${path} (training)`, names.map((name) => batches.get(name) ?? new Uint8Array(0)));
  const heldout = testBatch === undefined ? undefined : datasetOf(`${path} (held out)`, [testBatch]);
  const files = `${names.length} training file${names.length === 1 ? "" : "s"}`;
  const apart = heldout === undefined
    ? `no ${TEST_FILE[version]}`
    : `${heldout.count} images held out (${TEST_FILE[version]})`;
  return { train, heldout, description: `${train.count} images of 32×32×3 in ${files}, ${apart}` };
}

function datasetOf(name: string, batches: readonly Uint8Array[]): Dataset {
  const [only] = batches;
  const data = batches.length === 1 && only !== undefined ? only : joined(name, batches);
  return fromLevels({ name, height: SIZE, width: SIZE, channels: CHANNELS, levels: 256, data });
}

function joined(name: string, batches: readonly Uint8Array[]): Uint8Array {
  const data = allocate(name, batches.reduce((sum, batch) => sum + batch.length, 0));
  let at = 0;
  for (const batch of batches) {
    data.set(batch, at);
    at += batch.length;
  }
  return data;
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
