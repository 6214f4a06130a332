/** SVHN's cropped digits: MATLAB files with X (32×32×3×N, uint8) and labels y (10 stands for the digit 0). */

import { join } from "node:path";
import { DataError } from "../errors.ts";
import { allocate, ByteStream } from "../io/byte_stream.ts";
import { type MatVariable, matVariables, TYPE_BYTES } from "../io/mat5.ts";
import { shown } from "../io/shown.ts";
import { type Dataset, fromLevels, type OpenedSplit } from "./dataset.ts";

const TRAIN_FILE = "train_32x32.mat";
const TEST_FILE = "test_32x32.mat";
const CLASSES = 10;

/** Whether a folder with these names in it looks like SVHN's. */
export function isSvhnFolder(names: readonly string[]): boolean {
  return names.includes(TRAIN_FILE);
}

/** Opens one file, or a folder: `train_32x32.mat` for training, `test_32x32.mat`, if there, held out. */
export async function openSvhn(path: string, names: readonly string[] | undefined): Promise<OpenedSplit> {
  if (names === undefined) {
    const train = await load(path, path);
    return { train, heldout: undefined, description: `${train.count} images of ${sizeOf(train)}` };
  }
  const train = await load(join(path, TRAIN_FILE), `${path} (training)`);
  const heldout = names.includes(TEST_FILE) ? await load(join(path, TEST_FILE), `${path} (held out)`) : undefined;
  const apart = heldout === undefined ? `no ${TEST_FILE}` : `${heldout.count} images held out (${TEST_FILE})`;
  return { train, heldout, description: `${train.count} images of ${sizeOf(train)} (${TRAIN_FILE}), ${apart}` };
}

function sizeOf({ height, width, channels }: Dataset): string {
  return `${height}×${width}×${channels}`;
}

async function load(path: string, name: string): Promise<Dataset> {
  await using file = await ByteStream.open(path);
  const found: string[] = [];
  let images: { data: Uint8Array; shape: readonly number[] } | undefined;
  let labels: number | undefined;
  for await (const variable of matVariables(file)) {
    found.push(variable.name);
    if (variable.name === "X") images = { data: await readImages(path, variable), shape: variable.shape };
    else if (variable.name === "y") labels = await checkLabels(path, variable);
  }
  if (images === undefined) {
    const names = found.length === 0 ? "none" : found.slice(0, 6).map(shown).join(", ");
    throw new DataError(`${path}: expected variables X (images) and y (labels) as in SVHN's files, found ${names}`);
  }
  const [height = 0, width = 0, channels = 0, count = 1] = images.shape;
  if (labels !== undefined && labels !== count) {
    throw new DataError(`${path}: expected as many labels as images (${count}), found ${labels}`);
  }
  return fromLevels({ name, height, width, channels, levels: 256, data: images.data });
}

/** Values run down the rows first, then the columns, the channels, the images. */
async function readImages(path: string, { shape, type, values }: MatVariable): Promise<Uint8Array> {
  const [height = 0, width = 0, channels = 0, count = 1] = shape;
  const isImages = (shape.length === 3 || shape.length === 4) && (channels === 1 || channels === 3) && type === "uint8";
  if (!isImages) {
    throw new DataError(
      `${path}: expected X to be height×width×3×count of uint8, found ${shape.join("×")} of ${
        type ?? "something else"
      }`,
    );
  }
  const pixels = height * width;
  const elements = pixels * channels;
  if (elements * count > values.most) {
    throw new DataError(
      `${path}: cut short: its X needs ${elements * count} bytes, there can't be more than ${values.most}`,
    );
  }
  const data = allocate(path, elements * count);
  const image = new Uint8Array(elements);
  for (let start = 0; start < data.length; start += elements) {
    await values.readInto(image);
    for (let c = 0; c < channels; c++) {
      for (let x = 0; x < width; x++) {
        const column = c * pixels + x * height;
        for (let y = 0; y < height; y++) data[start + (y * width + x) * channels + c] = image[column + y] ?? 0;
      }
    }
  }
  return data;
}

/** Checks the labels; returns how many there are. */
async function checkLabels(path: string, { shape, type, values }: MatVariable): Promise<number> {
  const count = shape.reduce((product, size) => product * size, 1);
  if (type === undefined) throw new DataError(`${path}: expected y to be numbers, found something else`);
  const bytes = await values.read(count * TYPE_BYTES[type]);
  const labels = asNumbers(bytes, type);
  const bad = labels.findIndex((label) => !(Number.isInteger(label) && label >= 0 && label <= CLASSES));
  if (bad >= 0) {
    throw new DataError(`${path}: expected labels from 0 to ${CLASSES}, found ${labels[bad]} for image ${bad}`);
  }
  return count;
}

function asNumbers(bytes: Uint8Array<ArrayBuffer>, type: keyof typeof TYPE_BYTES): ArrayLike<number> & {
  findIndex(test: (value: number) => boolean): number;
} {
  const { buffer } = bytes;
  switch (type) {
    case "int8":
      return new Int8Array(buffer);
    case "uint8":
      return bytes;
    case "int16":
      return new Int16Array(buffer);
    case "uint16":
      return new Uint16Array(buffer);
    case "int32":
      return new Int32Array(buffer);
    case "uint32":
      return new Uint32Array(buffer);
    case "single":
      return new Float32Array(buffer);
    case "double":
      return new Float64Array(buffer);
  }
}
