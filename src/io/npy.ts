/** NumPy's `.npy` files and `.npz` archives of them. Nothing in them is executed: arrays of Python objects are refused. */

import { unzipSync, zipSync } from "fflate";
import { DataError } from "../errors.ts";
import { ByteStream, MOST_INFLATION } from "./byte_stream.ts";
import { shown } from "./shown.ts";
import { DTYPE_BYTES, elementCount, type FileDtype, type FileTensor } from "./tensor.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const;
const MOST_HEADER = 2 ** 20;

const DTYPES: Readonly<Record<string, FileDtype>> = {
  "|b1": "BOOL",
  "|u1": "U8",
  "|i1": "I8",
  "<i2": "I16",
  "<i4": "I32",
  "<u4": "U32",
  "<i8": "I64",
  "<f2": "F16",
  "<f4": "F32",
  "<f8": "F64",
};

/** Whether a file that begins with `first` is an `.npy` file. */
export function isNpy(first: Uint8Array): boolean {
  return MAGIC.every((byte, i) => first[i] === byte);
}

/**
 * Reads an `.npy` file, wholly.
 *
 * @throws {DataError} if it is cut short, damaged, of a type that this library does not read, or in Fortran's order
 */
export async function readNpy(file: ByteStream): Promise<FileTensor> {
  const { label } = file;
  const start = file.most < 10 ? new Uint8Array(0) : await file.read(8);
  if (!isNpy(start)) throw new DataError(`${label}: expected an .npy file, found something else`);
  const lengthBytes = (start[6] ?? 0) >= 2 ? 4 : 2;
  const length = (await file.read(lengthBytes)).reduce((sum, byte, i) => sum + byte * 2 ** (8 * i), 0);
  if (length > MOST_HEADER) throw new DataError(`${label}: damaged: it claims a header of ${length} bytes`);
  const { dtype, shape } = parseHeader(new TextDecoder().decode(await file.read(length)), label);
  const bytes = elementCount(shape) * DTYPE_BYTES[dtype];
  if (!Number.isSafeInteger(bytes)) {
    throw new DataError(`${label}: damaged: it claims a shape of [${shape.join(", ")}]`);
  }
  const data = await file.read(bytes);
  if (!await file.ended()) {
    throw new DataError(
      `${label}: damaged: expected ${bytes} bytes of data for shape [${shape.join(", ")}], found more`,
    );
  }
  return { dtype, shape, bytes: data };
}

/** The header is a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. */
function parseHeader(header: string, label: string): { dtype: FileDtype; shape: number[] } {
  const descr = /'descr':\s*(?:'([^']*)'|\[)/.exec(header);
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([\dL,\s]*)\)/.exec(header)?.[1];
  if (descr === null || order === undefined || sizes === undefined) {
    throw new DataError(`${label}: damaged: expected an .npy header, found ${shown(header)}`);
  }
  const [, type] = descr;
  if (type === undefined) throw new DataError(`${label}: expected an array of numbers, found one of records`);
  if (type.includes("O")) {
    throw new DataError(
      `${label}: expected an array of numbers, found one of Python objects, which reading could run code for; not read`,
    );
  }
  const dtype = Object.hasOwn(DTYPES, type) ? DTYPES[type] : undefined;
  if (dtype === undefined) {
    const known = Object.keys(DTYPES).map((name) => name.replace("|", "")).join(", ");
    throw new DataError(
      `${label}: expected an array of ${known}, found ${shown(type)}; convert it with astype`,
    );
  }
  if (order === "True") {
    throw new DataError(`${label}: expected C order, found Fortran's; save numpy.ascontiguousarray of the array`);
  }
  return { dtype, shape: sizes.split(",").map((size) => size.replace("L", "").trim()).filter(Boolean).map(Number) };
}

/** The bytes of an `.npy` file, format 1.0, of float64 values in C order. */
export function npyOf(values: Float64Array, shape: readonly number[]): Uint8Array<ArrayBuffer> {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f8', 'fortran_order': False, 'shape': (${sizes}), }`;
  // The header is padded so that the values begin at a multiple of 64.
  const begin = Math.ceil((10 + text.length + 1) / 64) * 64;
  const bytes = new Uint8Array(begin + values.byteLength);
  bytes.set(MAGIC);
  bytes.set([1, 0, (begin - 10) & 0xff, (begin - 10) >> 8], 6);
  bytes.set(new TextEncoder().encode(text.padEnd(begin - 11) + "\n"), 10);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), begin);
  return bytes;
}

/** The bytes of an `.npz` archive of arrays. */
export function npzOf(arrays: Readonly<Record<string, Uint8Array<ArrayBuffer>>>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    zipSync(Object.fromEntries(Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes])), { level: 0 }),
  );
}

/** An `.npz` archive in memory. */
export class NpzArchive {
  readonly #label: string;
  readonly #bytes: Uint8Array;
  /** Names of the arrays, without `.npy`. */
  readonly names: readonly string[];

  /** @throws {DataError} if it is no zip archive, is damaged or has paths that lead out of it */
  constructor(label: string, bytes: Uint8Array) {
    this.#label = label;
    this.#bytes = bytes;
    const names: string[] = [];
    this.#unzip((name) => {
      if (/^([/\\]|[A-Za-z]:)/.test(name) || name.split(/[/\\]/).includes("..")) {
        throw new DataError(
          `${label}: expected paths inside the archive, found ${shown(name)}, which leads out of it; not opened`,
        );
      }
      if (name.endsWith(".npy")) names.push(name.slice(0, -4));
      return false;
    });
    this.names = names;
  }

  /** Reads an array that is there. */
  async read(name: string): Promise<FileTensor> {
    const label = `${this.#label}: ${shown(name)}`;
    const bytes = this.#unzip((found) => found === `${name}.npy`)[`${name}.npy`];
    if (bytes === undefined) throw new DataError(`${label}: expected this array, found ${listOf(this.names)}`);
    return await readNpy(ByteStream.of(label, bytes));
  }

  #unzip(select: (name: string) => boolean): Record<string, Uint8Array> {
    const bytes = this.#bytes;
    try {
      return unzipSync(bytes, {
        filter: ({ name, originalSize }) => {
          if (originalSize > bytes.length * MOST_INFLATION) {
            throw new DataError(`${this.#label}: damaged: ${shown(name)} claims ${originalSize} bytes`);
          }
          return select(name);
        },
      });
    } catch (error) {
      if (error instanceof DataError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(`${this.#label}: cut short or damaged: ${reason}`, { cause: error });
    }
  }
}

/** Names of arrays for a message. */
export function listOf(names: readonly string[]): string {
  if (names.length === 0) return "no array";
  return names.slice(0, 6).map(shown).join(", ") + (names.length > 6 ? ", …" : "");
}
