/** One batch file of CIFAR-10, in its binary and in its Python version: images as [H, W, C] levels. */

import { Buffer } from "node:buffer";
import { DataError } from "../errors.ts";
import { allocate, type ByteStream } from "../io/byte_stream.ts";
import { PickleDict, PickleGlobal, PickleObject, PickleSequence, type PickleValue } from "../io/pickle_values.ts";
import { unpickle } from "../io/unpickle.ts";

/** Rows and columns of an image. */
export const SIZE = 32;
export const CHANNELS = 3;
const PIXELS = SIZE * SIZE;
/** Values of an image. */
const IMAGE_BYTES = CHANNELS * PIXELS;
const RECORD_BYTES = 1 + IMAGE_BYTES;
const CLASSES = 10;

/**
 * Reads records of a label byte and 3×32×32 pixels, plane after plane.
 *
 * @param size bytes of the file
 */
export async function readBinaryBatch(file: ByteStream, size: number): Promise<Uint8Array> {
  const { label: path } = file;
  const count = countRecords(path, size);
  if (size > file.most) throw new DataError(`${path}: cut short: expected ${size} bytes`);
  const data = allocate(path, count * IMAGE_BYTES);
  const record = new Uint8Array(RECORD_BYTES);
  for (let i = 0; i < count; i++) {
    await file.readInto(record);
    checkLabel(path, record[0] ?? CLASSES, i, "is it CIFAR-10's binary version?");
    interleave(record.subarray(1), data, i);
  }
  return data;
}

/** @throws {DataError} if a file of this size can't hold records alone */
export function countRecords(path: string, size: number): number {
  if (size === 0) throw new DataError(`${path}: expected CIFAR-10 records, found an empty file`);
  if (size % RECORD_BYTES === 0) return size / RECORD_BYTES;
  throw new DataError(
    `${path}: expected a multiple of ${RECORD_BYTES} bytes (CIFAR-10 records), found ${size}; is the file cut short?`,
  );
}

/** NumPy's array as a pickle builds it: made empty, then given (version, shape, type, order, bytes). */
class PickledArray extends PickleObject {
  state: readonly PickleValue[] = [];

  override setState(state: PickleValue): boolean {
    if (!(state instanceof PickleSequence)) return false;
    this.state = state.items;
    return true;
  }
}

/** NumPy's type of values; what else is in its state means nothing for bytes. */
class PickledDtype extends PickleObject {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }

  override setState(): boolean {
    return true;
  }
}

const RECONSTRUCT = new PickleGlobal("numpy._reconstruct", () => new PickledArray());
const GLOBALS: ReadonlyMap<string, PickleGlobal> = new Map([
  ["numpy.core.multiarray._reconstruct", RECONSTRUCT],
  ["numpy._core.multiarray._reconstruct", RECONSTRUCT],
  ["numpy.ndarray", new PickleGlobal("numpy.ndarray")],
  ["numpy.dtype", new PickleGlobal("numpy.dtype", ([name]) => new PickledDtype(String(name)))],
  // How Python 3 writes bytes for Python 2: as text in Latin-1.
  ["_codecs.encode", new PickleGlobal("_codecs.encode", ([text]) => Buffer.from(String(text), "latin1"))],
]);

/** Reads a pickled dictionary of `data` (count×3072 bytes, plane after plane) and `labels`. No code in it is run. */
export function readPythonBatch(path: string, bytes: Uint8Array): Uint8Array {
  const { value } = unpickle(bytes, 0, { globals: GLOBALS, label: path, fail: DataError });
  if (!(value instanceof PickleDict)) {
    throw new DataError(`${path}: expected a pickled dictionary, found something else`);
  }
  const planes = pixelsOf(path, entry(value, "data"));
  const labels = entry(value, "labels");
  const count = planes.length / IMAGE_BYTES;
  if (!(labels instanceof PickleSequence) || labels.items.length !== count) {
    throw new DataError(`${path}: expected ${count} labels, one per image; is it CIFAR-10's Python version?`);
  }
  const data = allocate(path, planes.length);
  for (const [i, label] of labels.items.entries()) {
    checkLabel(path, label, i, "is it CIFAR-10's Python version?");
    interleave(planes.subarray(i * IMAGE_BYTES, (i + 1) * IMAGE_BYTES), data, i);
  }
  return data;
}

/** Python 2 wrote the keys as bytes, which a later Python keeps. */
function entry(dict: PickleDict, key: string): PickleValue | undefined {
  for (const [found, value] of dict.entries) if (found === key) return value;
  return undefined;
}

function pixelsOf(path: string, array: PickleValue | undefined): Uint8Array {
  const state = array instanceof PickledArray ? array.state : [];
  const [, shape, dtype, fortran, content] = state;
  const sizes = shape instanceof PickleSequence ? shape.items : [];
  const [count, elements] = sizes;
  const isImages = typeof count === "number" && count > 0 && elements === IMAGE_BYTES && sizes.length === 2 &&
    dtype instanceof PickledDtype && dtype.name === "u1" && fortran !== true;
  const bytes = content instanceof Uint8Array
    ? content
    : typeof content === "string"
    ? Buffer.from(content, "latin1")
    : new Uint8Array(0);
  if (isImages && bytes.length === count * IMAGE_BYTES) return bytes;
  throw new DataError(
    `${path}: expected data, an array of count×${IMAGE_BYTES} bytes, found ${
      array === undefined ? "none" : `something else`
    }; is it CIFAR-10's Python version?`,
  );
}

function checkLabel(path: string, label: unknown, position: number, hint: string): void {
  if (typeof label === "number" && Number.isInteger(label) && label >= 0 && label < CLASSES) return;
  throw new DataError(
    `${path}: expected a label from 0 to ${CLASSES - 1} in record ${position}, found ${String(label)}; ${hint}`,
  );
}

/** Planes [C, H, W] to image `image` of `data` [N, H, W, C]. */
function interleave(planes: Uint8Array, data: Uint8Array, image: number): void {
  const start = image * IMAGE_BYTES;
  for (let c = 0; c < CHANNELS; c++) {
    for (let p = 0; p < PIXELS; p++) data[start + p * CHANNELS + c] = planes[c * PIXELS + p] ?? 0;
  }
}
