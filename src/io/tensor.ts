/** Tensors as a file holds them: a type, a shape and little-endian bytes. */

import { DataError } from "../errors.ts";

/** Element types of a safetensors file. */
export type FileDtype = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "U32" | "BOOL";

/** Bytes per element of each type. */
export const DTYPE_BYTES: Readonly<Record<FileDtype, number>> = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** A tensor in memory, as stored: row-major, little-endian. */
export interface FileTensor {
  readonly dtype: FileDtype;
  readonly shape: readonly number[];
  /** product(shape) × {@linkcode DTYPE_BYTES} bytes; may be a view at any alignment. */
  readonly bytes: Uint8Array;
}

/** A typed array with an element type of its own in a file. */
export type NumberArray = Float64Array | Float32Array | Int32Array | Int16Array | Int8Array | Uint8Array | Uint32Array;

/** Number of elements of a shape; 1 for a scalar's empty shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * A tensor that views a typed array's memory.
 *
 * @throws {DataError} if the shape's product is not the array's length
 */
export function tensorOf(shape: readonly number[], data: NumberArray): FileTensor {
  if (elementCount(shape) !== data.length) {
    throw new DataError(`expected ${elementCount(shape)} values for shape [${shape.join(", ")}], got ${data.length}`);
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { dtype: dtypeOf(data), shape: [...shape], bytes };
}

/**
 * A tensor's values as float32, rounding F64 and integers beyond 2²⁴ to the nearest. F32 tensors share the tensor's
 * memory where its alignment allows.
 */
export function toFloat32(tensor: FileTensor): Float32Array {
  const { dtype, bytes } = tensor;
  if (dtype === "F32") {
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
  }
  return Float32Array.from(values(tensor));
}

/** A tensor's values as float64, rounding only integers beyond 2⁵³. */
export function toFloat64(tensor: FileTensor): Float64Array {
  return values(tensor);
}

/**
 * A tensor's values as whole numbers.
 *
 * @throws {DataError} if a value is no integer or beyond 2⁵³
 */
export function toIntegers(tensor: FileTensor): Float64Array {
  const result = values(tensor);
  const bad = result.findIndex((value) => !Number.isSafeInteger(value));
  if (bad >= 0) throw new DataError(`expected whole numbers up to 2^53, found ${result[bad]} at position ${bad}`);
  return result;
}

function values(tensor: FileTensor): Float64Array {
  const { dtype, bytes } = tensor;
  const size = DTYPE_BYTES[dtype];
  const count = bytes.byteLength / size;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = READERS[dtype];
  const out = new Float64Array(count);
  for (let i = 0; i < count; i++) out[i] = read(view, i * size);
  return out;
}

const READERS: Readonly<Record<FileDtype, (view: DataView, at: number) => number>> = {
  F64: (view, at) => view.getFloat64(at, true),
  F32: (view, at) => view.getFloat32(at, true),
  F16: (view, at) => halfToNumber(view.getUint16(at, true)),
  BF16: (view, at) => bfloat16ToNumber(view.getUint16(at, true)),
  I64: (view, at) => Number(view.getBigInt64(at, true)),
  I32: (view, at) => view.getInt32(at, true),
  I16: (view, at) => view.getInt16(at, true),
  I8: (view, at) => view.getInt8(at),
  U8: (view, at) => view.getUint8(at),
  U32: (view, at) => view.getUint32(at, true),
  BOOL: (view, at) => view.getUint8(at) === 0 ? 0 : 1,
};

/** IEEE 754 binary16: 1 sign, 5 exponent (bias 15) and 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const bfloat16Scratch = new DataView(new ArrayBuffer(4));

/** bfloat16: the upper half of a binary32. */
function bfloat16ToNumber(bits: number): number {
  bfloat16Scratch.setUint32(0, bits * 0x10000);
  return bfloat16Scratch.getFloat32(0);
}

function dtypeOf(data: NumberArray): FileDtype {
  if (data instanceof Float32Array) return "F32";
  if (data instanceof Float64Array) return "F64";
  if (data instanceof Int32Array) return "I32";
  if (data instanceof Uint32Array) return "U32";
  if (data instanceof Int16Array) return "I16";
  if (data instanceof Int8Array) return "I8";
  return "U8";
}
