/** PNG files: written here, because pictures are many and small or too large to be held; read by a library. */

import { readFile } from "node:fs/promises";
import { crc32, deflateSync } from "node:zlib";
import { Zlib } from "fflate";
import { DataError } from "../errors.ts";
import { type AtomicFile, writeAtomic, type WriteOptions } from "./atomic.ts";
import { systemReason } from "./system_error.ts";

/** 8-bit pixels, row by row, channels interleaved (H×W×C). */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 red-green-blue. */
  readonly channels: 1 | 3;
  /** height·width·channels values. */
  readonly data: Uint8Array;
}

/** A picture's size. */
export type PixelSize = Omit<Pixels, "data">;

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LEVEL = 6;
/** Each row is stored as what it differs by from the one above: enlarged pixels become zeros. */
const FILTER_UP = 2;

/** One chunk: length, type, content, checksum. */
export function pngChunk(type: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const chunk = new Uint8Array(content.length + 12);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, content.length);
  chunk.set(new TextEncoder().encode(type), 4);
  chunk.set(content, 8);
  view.setUint32(8 + content.length, crc32(chunk.subarray(4, 8 + content.length)));
  return chunk;
}

/**
 * What a file begins with: signature, header and, if given, a text under the keyword "Comment".
 *
 * @throws {DataError} if there are no pixels, or neither 1 nor 3 channels
 */
export function pngStart({ width, height, channels }: PixelSize, comment?: string): Uint8Array<ArrayBuffer> {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new DataError(`expected a picture of at least 1×1 pixels, got ${width}×${height}`);
  }
  if (channels !== 1 && channels !== 3) {
    throw new DataError(`expected 1 (grey) or 3 (RGB) channels, got ${String(channels)}`);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, channels === 1 ? 0 : 2], 8);
  const text = comment === undefined ? [] : [pngChunk("tEXt", new TextEncoder().encode(`Comment\0${comment}`))];
  return joined([Uint8Array.from(SIGNATURE), pngChunk("IHDR", header), ...text]);
}

/** What a file ends with. */
export function pngEnd(): Uint8Array<ArrayBuffer> {
  return pngChunk("IEND", new Uint8Array(0));
}

/** Rows with a filter byte in front of each; `above`: the row before the first. */
function filtered(data: Uint8Array, stride: number, above: Uint8Array): Uint8Array {
  const rows = data.length / stride;
  const out = new Uint8Array(rows * (stride + 1));
  let before = above;
  for (let r = 0; r < rows; r++) {
    const row = data.subarray(r * stride, (r + 1) * stride);
    const at = r * (stride + 1);
    out[at] = FILTER_UP;
    for (let i = 0; i < stride; i++) out[at + 1 + i] = row[i]! - before[i]!;
    before = row;
  }
  return out;
}

/**
 * A picture's compressed content, as chunks hold it.
 *
 * @throws {DataError} if the sizes do not fit the data
 */
export function compressPixels({ width, height, channels, data }: Pixels): Uint8Array {
  if (data.length !== width * height * channels) {
    throw new DataError(
      `expected ${width * height * channels} values for ${width}×${height}×${channels} pixels, got ${data.length}`,
    );
  }
  const stride = width * channels;
  return deflateSync(filtered(data, stride, new Uint8Array(stride)), { level: LEVEL });
}

/**
 * Encodes pixels as a PNG file, without loss.
 *
 * @throws {DataError} if the sizes do not fit the data
 */
export function encodePng(pixels: Pixels): Uint8Array<ArrayBuffer> {
  return joined([pngStart(pixels), pngChunk("IDAT", compressPixels(pixels)), pngEnd()]);
}

/**
 * Writes pixels to a PNG file, atomically.
 *
 * @throws as {@linkcode encodePng} and {@linkcode writeAtomic}
 */
export async function writePng(path: string, pixels: Pixels, options: WriteOptions = {}): Promise<void> {
  await writeAtomic(path, encodePng(pixels), options);
}

/**
 * Writes a PNG file that need not fit in memory, atomically.
 *
 * @param bands whole rows of pixels, from top to bottom
 * @param comment a text in the file
 * @throws {DataError} if the bands are not as many rows as `size` says
 */
export async function writePngBands(
  path: string,
  size: PixelSize,
  bands: AsyncIterable<Uint8Array>,
  comment?: string,
): Promise<void> {
  const start = pngStart(size, comment);
  const stride = size.width * size.channels;
  await writeAtomic(path, async (file) => {
    await file.write(start);
    const ready: Uint8Array[] = [];
    const deflate = new Zlib({ level: LEVEL }, (part) => ready.push(part));
    let above: Uint8Array = new Uint8Array(stride);
    let rows = 0;
    for await (const band of bands) {
      rows += band.length / stride;
      deflate.push(filtered(band, stride, above));
      above = band.slice(band.length - stride);
      await writeData(file, ready);
    }
    if (rows !== size.height) throw new DataError(`expected ${size.height} rows of pixels, got ${rows}`);
    deflate.push(new Uint8Array(0), true);
    await writeData(file, ready);
    await file.write(pngEnd());
  });
}

async function writeData(file: AtomicFile, ready: Uint8Array[]): Promise<void> {
  for (const part of ready.splice(0)) if (part.length > 0) await file.write(pngChunk("IDAT", part));
}

/** The parts, one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Most pixels of a picture that is read: a small file may claim any number. */
const MAX_PIXELS = 2 ** 24;

/** Where a file's header says its width, and behind it its height. */
const WIDTH_AT = 16;

/** Share of red, green and blue in the luminance (ITU-R BT.709). */
const LUMINANCE = [0.2126, 0.7152, 0.0722] as const;

/**
 * Reads a PNG file of any kind as grey levels; what is transparent is dark.
 *
 * @throws {DataError} if it can't be read, is no PNG, or too large
 */
export async function readGrey(path: string): Promise<Pixels> {
  const fail = (reason: string, cause?: unknown): DataError =>
    new DataError(`cannot read the picture ${path}: ${reason}`, { cause });
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fail(systemReason(error), error);
  });
  // A file of another kind has no such header; the library says what it is not.
  if (bytes.length >= WIDTH_AT + 8 && SIGNATURE.every((byte, i) => bytes[i] === byte)) {
    const [width, height] = [bytes.readUInt32BE(WIDTH_AT), bytes.readUInt32BE(WIDTH_AT + 4)];
    if (width * height > MAX_PIXELS) throw fail(`expected at most ${MAX_PIXELS} pixels, found ${width}×${height}`);
  }
  // Not sharp, which takes 24 MB more to load; and only when a picture is read.
  const { PNG } = await import("pngjs");
  try {
    const { width, height, data: rgba } = PNG.sync.read(bytes);
    const [red, green, blue] = LUMINANCE;
    const data = new Uint8Array(width * height);
    for (let i = 0, at = 0; i < data.length; i++, at += 4) {
      const level = red * rgba[at]! + green * rgba[at + 1]! + blue * rgba[at + 2]!;
      data[i] = Math.round(level * rgba[at + 3]! / 255);
    }
    return { width, height, channels: 1, data };
  } catch (error) {
    throw fail(`damaged, or no PNG: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}
