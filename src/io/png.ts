/** PNG files. */

import { DataError } from "../errors.ts";
import { writeAtomic } from "./atomic.ts";
import { loadSharp } from "./sharp.ts";

/** 8-bit pixels, row by row, channels interleaved (H×W×C). */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 red-green-blue. */
  readonly channels: 1 | 3;
  /** height·width·channels values. */
  readonly data: Uint8Array;
}

/**
 * Encodes pixels as a PNG file, without loss.
 *
 * @throws {DataError} if the sizes do not fit the data
 * @throws {CoopFlowError} if the image library cannot be loaded
 */
export async function encodePng(pixels: Pixels): Promise<Uint8Array> {
  const { width, height, channels, data } = pixels;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new DataError(`expected a picture of at least 1×1 pixels, got ${width}×${height}`);
  }
  if (channels !== 1 && channels !== 3) {
    throw new DataError(`expected 1 (grey) or 3 (RGB) channels, got ${String(channels)}`);
  }
  if (data.length !== width * height * channels) {
    throw new DataError(
      `expected ${width * height * channels} values for ${width}×${height}×${channels} pixels, got ${data.length}`,
    );
  }
  const sharp = await loadSharp();
  const image = sharp(data, { raw: { width, height, channels } });
  // sharp turns grey into RGB unless told otherwise.
  const encoded = await (channels === 1 ? image.toColourspace("b-w") : image).png().toBuffer();
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
}

/**
 * Writes pixels to a PNG file, atomically.
 *
 * @throws as {@linkcode encodePng} and {@linkcode writeAtomic}
 */
export async function writePng(path: string, pixels: Pixels): Promise<void> {
  await writeAtomic(path, await encodePng(pixels));
}

/** Most pixels of a picture that is read: a small file may claim any number. */
const MAX_PIXELS = 2 ** 24;

/**
 * Reads a picture file as grey levels.
 *
 * @throws {DataError} if it can't be read, is no picture, or too large
 */
export async function readGrey(path: string): Promise<Pixels> {
  const sharp = await loadSharp();
  try {
    const image = sharp(path, { limitInputPixels: MAX_PIXELS }).flatten().toColourspace("b-w").extractChannel(0);
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: 1, data: new Uint8Array(data) };
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new DataError(`cannot read the picture ${path}: ${reason}`, { cause: error });
  }
}
