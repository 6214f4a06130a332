/**
 * Numeric variables of MATLAB 5 files (`.mat` before version 7.3): a header of 128 bytes, then elements of a tag (type, size) and data, each possibly
 * compressed. Arrays are column-major: the first dimension runs fastest.
 */

import { DataError } from "../errors.ts";
import { ByteStream } from "./byte_stream.ts";
import { shown } from "./shown.ts";

/** A variable whose values are still in the file. */
export interface MatVariable {
  readonly name: string;
  /** Sizes, the fastest first. */
  readonly shape: readonly number[];
  /** How the values are stored, if they are real numbers; something else is passed over. */
  readonly type: MatType | undefined;
  /** product(shape) stored values. What is left unread is passed over. */
  readonly values: ByteStream;
}

/** How values are stored. */
export type MatType = keyof typeof TYPE_BYTES;

/** Bytes of a stored value. */
export const TYPE_BYTES = {
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  single: 4,
  double: 8,
} as const;

const HEADER_BYTES = 128;
const VERSION_5 = 0x0100;
const MATRIX = 14;
const COMPRESSED = 15;
const INT8 = 1;
const INT32 = 5;
const UINT32 = 6;
/** The file's number of each type. */
const TYPES: ReadonlyMap<number, MatType> = new Map([
  [1, "int8"],
  [2, "uint8"],
  [3, "int16"],
  [4, "uint16"],
  [5, "int32"],
  [6, "uint32"],
  [7, "single"],
  [9, "double"],
]);
/** Classes of arrays that hold numbers: double, single and integers. */
const FIRST_NUMERIC = 6;
const LAST_NUMERIC = 15;
const COMPLEX_FLAG = 0x0800;
const MOST_DIMENSIONS = 32;
const MOST_NAME = 4096;

interface Tag {
  readonly type: number;
  readonly size: number;
  /** The data of a small element, which lies in its tag. */
  readonly small?: Uint8Array;
}

/** Whether a file that begins with `first` says that it is MATLAB's. */
export function isMat(first: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(first.subarray(0, 6)) === "MATLAB";
}

/**
 * The variables of a file, one after the other.
 *
 * @throws {DataError} if it is of another version, cut short or damaged
 */
export async function* matVariables(file: ByteStream): AsyncGenerator<MatVariable, void, undefined> {
  await readHeader(file);
  while (!await file.ended()) {
    const { type, size, small } = await readTag(file);
    if (small !== undefined) continue;
    const element = file.part(size);
    if (type === COMPRESSED) {
      const inflated = element.inflated();
      const inner = await readTag(inflated);
      if (inner.type === MATRIX) yield* variable(inflated.part(inner.size));
      await inflated.drain();
    } else if (type === MATRIX) yield* variable(element);
    await element.drain();
  }
}

async function readHeader(file: ByteStream): Promise<void> {
  if (file.most < HEADER_BYTES) {
    throw new DataError(`${file.label}: expected a MATLAB 5 file, found ${file.most} bytes`);
  }
  const header = await file.read(HEADER_BYTES);
  const text = new TextDecoder("latin1").decode(header.subarray(0, 116));
  const version = new DataView(header.buffer).getUint16(124, true);
  const remedy = "save it with scipy.io.savemat, or in MATLAB with -v7";
  if (text.startsWith("MATLAB 7.3")) {
    throw new DataError(`${file.label}: expected a MATLAB 5 file, found version 7.3 (HDF5); ${remedy}`);
  }
  if (header[126] === 0x4d && header[127] === 0x49) {
    throw new DataError(`${file.label}: expected a little-endian MATLAB file, found a big-endian one; ${remedy}`);
  }
  if (header[126] !== 0x49 || header[127] !== 0x4d || version !== VERSION_5) {
    throw new DataError(`${file.label}: expected a MATLAB 5 file, found another version or kind of file; ${remedy}`);
  }
}

async function* variable(matrix: ByteStream): AsyncGenerator<MatVariable, void, undefined> {
  const { label } = matrix;
  const flags = wordsOf(await readElement(matrix, UINT32, 8));
  const shape = [...wordsOf(await readElement(matrix, INT32, 4 * MOST_DIMENSIONS))];
  const name = new TextDecoder("latin1").decode(await readElement(matrix, INT8, MOST_NAME));
  const kind = (flags[0] ?? 0) & 0xff;
  const isReal = kind >= FIRST_NUMERIC && kind <= LAST_NUMERIC && ((flags[0] ?? 0) & COMPLEX_FLAG) === 0;
  if (!isReal) {
    yield { name, shape, type: undefined, values: matrix };
    return;
  }
  const tag = await readTag(matrix);
  const type = TYPES.get(tag.type);
  const expected = shape.reduce((product, size) => product * size, type === undefined ? 1 : TYPE_BYTES[type]);
  if (type !== undefined && tag.size !== expected) {
    throw new DataError(
      `${label}: damaged: variable ${shown(name)} of ${shape.join("×")} ${type} has ${tag.size} bytes, not ${expected}`,
    );
  }
  const values = tag.small === undefined ? matrix.part(tag.size) : ByteStream.of(label, tag.small);
  yield { name, shape, type, values };
  await values.drain();
}

/** The data of a small element of the expected type. */
async function readElement(matrix: ByteStream, type: number, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const tag = await readTag(matrix);
  if (tag.type !== type || tag.size > most) throw new DataError(`${matrix.label}: damaged: a variable without a head`);
  if (tag.small !== undefined) return tag.small.slice();
  const bytes = await matrix.read(tag.size);
  await matrix.skip(-tag.size & 7);
  return bytes;
}

async function readTag(stream: ByteStream): Promise<Tag> {
  const bytes = await stream.read(8);
  const view = new DataView(bytes.buffer);
  const first = view.getUint32(0, true);
  const smallSize = first >>> 16;
  if (smallSize === 0) return { type: first, size: view.getUint32(4, true) };
  if (smallSize > 4) throw new DataError(`${stream.label}: damaged: an element of ${smallSize} bytes in its tag`);
  return { type: first & 0xffff, size: smallSize, small: bytes.subarray(4, 4 + smallSize) };
}

function wordsOf(bytes: Uint8Array<ArrayBuffer>): Uint32Array {
  return new Uint32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
}
