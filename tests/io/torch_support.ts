/** Pickles and torch files made by hand. */
import { zipSync } from "fflate";

/** A piece of a pickle: raw bytes, or text that stands for its characters. */
export type Piece = number | string | Uint8Array | readonly Piece[];

/** Joins pieces. */
export function bytesOf(...pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const put = (piece: Piece): void => {
    if (typeof piece === "number") out.push(piece);
    else if (typeof piece === "string") put(new TextEncoder().encode(piece));
    else for (const inner of piece) put(inner);
  };
  pieces.forEach(put);
  return Uint8Array.from(out);
}

/** A little-endian number. */
export function little(value: number | bigint, size: 1 | 2 | 4 | 8): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return new Uint8Array(view.buffer, 0, size);
}

/** BINUNICODE. */
export const text = (value: string): Piece => ["X", little(new TextEncoder().encode(value).length, 4), value];
/** LONG1 of 8 bytes. */
export const long = (value: number | bigint): Piece => [0x8a, 8, little(value, 8)];
/** GLOBAL. */
export const global = (module: string, name: string): Piece => `c${module}\n${name}\n`;
/** TUPLE of items. */
export const tuple = (...items: readonly Piece[]): Piece => ["(", items, "t"];
/** A dictionary. */
export const dict = (entries: Readonly<Record<string, Piece>>): Piece => [
  "}(",
  Object.entries(entries).map(([key, value]) => [text(key), value]),
  "u",
];

/** How {@linkcode tensor} describes a tensor. */
export interface Described {
  readonly shape: readonly (number | bigint)[];
  readonly strides?: readonly (number | bigint)[];
  readonly offset?: number | bigint;
  readonly key?: string;
  readonly type?: string;
  readonly length?: number | bigint;
  readonly location?: string;
  /** `null` in the format of 2017; absent in zip archives. */
  readonly view?: Piece;
}

/** A call of `_rebuild_tensor_v2`. */
export function tensor(of: Described): Piece {
  const product = of.shape.reduce<bigint>((a, b) => a * BigInt(b), 1n);
  const strides = of.strides ??
    of.shape.map((_, k) => of.shape.slice(k + 1).reduce<bigint>((a, b) => a * BigInt(b), 1n));
  const id = tuple(
    text("storage"),
    global("torch", of.type ?? "FloatStorage"),
    text(of.key ?? "0"),
    text(of.location ?? "cpu"),
    long(of.length ?? product),
    of.view ?? [],
  );
  const shape = tuple(...of.shape.map(long)), steps = tuple(...strides.map(long));
  const args = tuple(id, "Q", long(of.offset ?? 0), shape, steps, 0x89, global("collections", "OrderedDict"), ")R");
  return [global("torch._utils", "_rebuild_tensor_v2"), args, "R"];
}

/** A whole pickle. */
export const pickle = (...pieces: readonly Piece[]): Uint8Array<ArrayBuffer> => bytesOf(0x80, 2, pieces, ".");

/** A zip archive as `torch.save` makes it. */
export function torchZip(
  value: Piece,
  storages: Readonly<Record<string, Uint8Array>> = {},
  more: Readonly<Record<string, Uint8Array>> = {},
): Uint8Array<ArrayBuffer> {
  const files = {
    "archive/data.pkl": pickle(value),
    ...Object.fromEntries(Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes])),
    ...more,
  };
  return zipSync(files, { level: 0 }) as Uint8Array<ArrayBuffer>;
}

/** The format of 2017. */
export function torchLegacy(
  value: Piece,
  storages: Readonly<Record<string, { length: number; bytes: Uint8Array }>> = {},
): Uint8Array<ArrayBuffer> {
  const magic = bytesOf(0x8a, 10, [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]);
  const keys = Object.keys(storages).map(text);
  return bytesOf(
    pickle(magic),
    pickle("M", little(1001, 2)),
    pickle(dict({ protocol_version: ["M", little(1001, 2)], little_endian: 0x88 })),
    pickle(value),
    pickle("](", keys, "e"),
    Object.values(storages).map(({ length, bytes }) => [little(length, 8), bytes]),
  );
}

/** A tar archive. */
export function tar(files: Readonly<Record<string, Uint8Array>>): Uint8Array<ArrayBuffer> {
  const blocks = Object.entries(files).map(([name, content]) => {
    const header = new Uint8Array(512);
    const put = (at: number, value: string): void => header.set(new TextEncoder().encode(value), at);
    put(0, name);
    put(100, "0000644\0");
    put(124, content.length.toString(8).padStart(11, "0") + "\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(148, header.reduce((a, b) => a + b, 0).toString(8).padStart(6, "0") + "\0 ");
    const padded = new Uint8Array(Math.ceil(content.length / 512) * 512);
    padded.set(content);
    return [header, padded];
  });
  return bytesOf(blocks, new Uint8Array(1024));
}

/** The bytes of float32 numbers. */
export function floats(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Float32Array.from(values).buffer);
}
