/** Small files of every format, made by hand. */
import { deflateSync } from "node:zlib";
import { zipSync } from "fflate";

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Byte arrays, one after the other. */
export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function u32(value: number, littleEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, littleEndian);
  return bytes;
}

/** Bytes that tell image and position: (7·i + 13·image) mod `levels`. */
export function pixels(count: number, elements: number, levels = 256): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    { length: count * elements },
    (_, i) => (7 * (i % elements) + 13 * Math.floor(i / elements)) % levels,
  );
}

/** An IDX file of bytes. */
export function idx(shape: readonly number[], data: Uint8Array, type = 8): Uint8Array<ArrayBuffer> {
  return concat([0, 0, type, shape.length], ...shape.map((size) => u32(size, false)), data);
}

/** An .npy file, version 1. */
export function npy(
  descr: string,
  shape: readonly number[],
  data: Uint8Array,
  fortran = false,
): Uint8Array<ArrayBuffer> {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const type = descr.startsWith("[") ? descr : `'${descr}'`;
  const text = `{'descr': ${type}, 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${sizes}), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
  return concat([0x93], latin1("NUMPY"), [1, 0, header.length & 0xff, header.length >> 8], latin1(header), data);
}

/** An .npz archive. */
export function npz(arrays: Readonly<Record<string, Uint8Array>>): Uint8Array<ArrayBuffer> {
  const files = Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes]);
  return new Uint8Array(zipSync(Object.fromEntries(files)));
}

function element(type: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(u32(type, true), u32(data.length, true), data, new Uint8Array(-data.length & 7));
}

/** A variable of a MATLAB 5 file: uint8 (class 9) stored as bytes, column-major. */
export function matVariable(
  name: string,
  shape: readonly number[],
  data: Uint8Array,
  { compressed = true, kind = 9, type = 2 }: { compressed?: boolean; kind?: number; type?: number } = {},
): Uint8Array<ArrayBuffer> {
  // A name of up to 4 letters lies in its tag.
  const nameElement = name.length <= 4
    ? concat(u32(1 | name.length << 16, true), latin1(name), new Uint8Array(4 - name.length))
    : element(1, latin1(name));
  const body = concat(
    element(6, concat(u32(kind, true), u32(0, true))),
    element(5, concat(...shape.map((size) => u32(size, true)))),
    nameElement,
    element(type, data),
  );
  const matrix = concat(u32(14, true), u32(body.length, true), body);
  if (!compressed) return matrix;
  const packed = new Uint8Array(deflateSync(matrix));
  return concat(u32(15, true), u32(packed.length, true), packed);
}

/** A MATLAB file of the given variables. */
export function mat(
  variables: readonly Uint8Array[],
  text = "MATLAB 5.0 MAT-file",
  version = 0x0100,
): Uint8Array<ArrayBuffer> {
  const end = [version & 0xff, version >> 8, 0x49, 0x4d];
  return concat(latin1(text.padEnd(124)), end, ...variables);
}

/** SVHN's file: `data` is [N, H, W, C]. */
export function svhn(
  count: number,
  size: number,
  data: Uint8Array,
  labels?: readonly number[],
): Uint8Array<ArrayBuffer> {
  const columnMajor = new Uint8Array(data.length);
  let to = 0;
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < 3; c++) {
      for (let x = 0; x < size; x++) {
        for (let y = 0; y < size; y++) columnMajor[to++] = data[((n * size + y) * size + x) * 3 + c] ?? 0;
      }
    }
  }
  const y = Uint8Array.from(labels ?? Array.from({ length: count }, (_, i) => 1 + i % 10));
  return mat([matVariable("X", [size, size, 3, count], columnMajor), matVariable("y", [count, 1], y)]);
}

/** One entry of a tar archive. */
export interface TarEntry {
  readonly path: string;
  readonly data?: Uint8Array;
  /** As in the format: "0" a file, "5" a folder, "2" a symbolic link … */
  readonly type?: string;
}

/** A tar archive. */
export function tar(entries: readonly TarEntry[]): Uint8Array<ArrayBuffer> {
  const blocks = entries.flatMap(({ path, data = new Uint8Array(0), type = "0" }) => {
    const header = new Uint8Array(512);
    header.set(latin1(path).subarray(0, 100)); // a longer one is told in an entry before
    header.set(latin1(data.length.toString(8).padStart(11, "0")), 124);
    header.set(latin1("        "), 148);
    header.set(latin1(type), 156);
    header.set(latin1("ustar\0" + "00"), 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.set(latin1(sum.toString(8).padStart(6, "0") + "\0 "), 148);
    return [header, data, new Uint8Array(-data.length & 511)];
  });
  return concat(...blocks, new Uint8Array(1024));
}

/** Planes [N, C, H, W] to [N, H, W, C] and back are permutations: this one gives planes. */
export function planes(count: number, pixelCount: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(data.length);
  for (let n = 0; n < count; n++) {
    for (let p = 0; p < pixelCount; p++) {
      for (let c = 0; c < 3; c++) {
        out[(n * 3 + c) * pixelCount + p] = data[(n * pixelCount + p) * 3 + c] ?? 0;
      }
    }
  }
  return out;
}

/** A CIFAR-10 binary batch of images [N, 32, 32, 3]. */
export function cifarBinary(count: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const rows = planes(count, 1024, data);
  return concat(...Array.from({ length: count }, (_, n) => concat([n % 10], rows.subarray(n * 3072, (n + 1) * 3072))));
}

const text = (value: string): Uint8Array => concat([0x55, value.length], latin1(value));
const named = (module: string, name: string): Uint8Array => latin1(`c${module}\n${name}\n`);

/** A key as Python 3 pickles the bytes of one. */
export const bytesKey = (value: string): Uint8Array => concat([0x43, value.length], latin1(value));

/** A CIFAR-10 Python batch of images [N, 32, 32, 3], as Python 2 pickled it. */
export function cifarPython(
  count: number,
  data: Uint8Array,
  {
    labels = Array.from({ length: count }, (_, n) => n % 10),
    reconstruct = named("numpy.core.multiarray", "_reconstruct"),
    key = text,
  } = {},
): Uint8Array<ArrayBuffer> {
  const rows = planes(count, 1024, data);
  return concat(
    [0x80, 2, 0x7d, 0x28],
    concat(key("batch_label"), text("training batch 1 of 5")),
    concat(key("labels"), [0x5d, 0x28], labels.flatMap((label) => [0x4b, label]), [0x65]),
    key("data"),
    concat(reconstruct, named("numpy", "ndarray"), [0x4b, 0, 0x85], text("b"), [0x87, 0x52]),
    concat([0x28, 0x4b, 1, 0x4a], u32(count, true), [0x4d, 0, 12, 0x86]),
    concat(named("numpy", "dtype"), text("u1"), [0x4b, 0, 0x4b, 1, 0x87, 0x52]),
    concat([0x28, 0x4b, 3], text("|"), [
      0x4e,
      0x4e,
      0x4e,
      0x4a,
      255,
      255,
      255,
      255,
      0x4a,
      255,
      255,
      255,
      255,
      0x4b,
      0,
      0x74,
      0x62,
    ]),
    concat([0x89, 0x54], u32(rows.length, true), rows, [0x74, 0x62]),
    [0x75, 0x2e],
  );
}
