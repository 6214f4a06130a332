/** Pictures as people have them, decoded to 8-bit grey or RGB of one size. */

import { CoopFlowError, DataError } from "../errors.ts";

/** What to make of a picture. */
export interface PictureSpec {
  readonly height: number;
  readonly width: number;
  /** 1 grey, 3 red-green-blue. */
  readonly channels: 1 | 3;
  /** Side of the square that is cut out of the middle first; absent: the largest part of the shape that is wanted. */
  readonly crop?: number | undefined;
  /** What shows through transparent pixels: `#rrggbb`. */
  readonly background: string;
}

/** A decoded picture. */
export interface Picture {
  /** height·width·channels values, row by row, channels interleaved. */
  readonly pixels: Uint8Array;
  /** Whether the file says that it has no colours. */
  readonly isGrey: boolean;
}

/** How pictures are made smaller, for reports. */
export const RESIZING = "Lanczos, antialiased";
/** More pixels than any camera's; what a small file may claim to have beyond is not decoded. */
const MOST_PIXELS = 2 ** 28;

/** PNG, JPEG and WebP by their first 12 bytes; other formats are not given to the decoder. */
export function isPicture(first: Uint8Array): boolean {
  const begins = (at: number, ...bytes: readonly number[]) => bytes.every((byte, i) => first[at + i] === byte);
  return begins(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a) || begins(0, 0xff, 0xd8, 0xff) ||
    (begins(0, 0x52, 0x49, 0x46, 0x46) && begins(8, 0x57, 0x45, 0x42, 0x50));
}

/**
 * Decodes a picture: turned as its EXIF says, transparency over the background, CMYK, palettes and 16 bits to 8-bit sRGB; cut and made smaller, never
 * larger.
 *
 * @throws {DataError} with the reason alone, if it is broken or too small
 */
export async function decodePicture(bytes: Uint8Array, spec: PictureSpec): Promise<Picture> {
  const sharp = await loadSharp();
  const { height, width, channels, crop } = spec;
  try {
    const image = sharp(bytes, { failOn: "warning", limitInputPixels: false });
    const { space = "", hasAlpha, autoOrient: size, width: storedWidth, height: storedHeight } = await image.metadata();
    if (storedWidth * storedHeight > MOST_PIXELS) {
      throw new DataError(`too large: ${storedHeight}×${storedWidth} pixels, expected at most ${MOST_PIXELS} in all`);
    }
    const leastHeight = Math.max(height, crop ?? 0);
    const leastWidth = Math.max(width, crop ?? 0);
    if (size.height < leastHeight || size.width < leastWidth) {
      throw new DataError(`too small: ${size.height}×${size.width}, expected at least ${leastHeight}×${leastWidth}`);
    }
    let upright = image.autoOrient();
    if (crop !== undefined) {
      const top = Math.round((size.height - crop) / 2);
      const left = Math.round((size.width - crop) / 2);
      upright = upright.extract({ left, top, width: crop, height: crop });
    }
    if (hasAlpha) upright = upright.flatten({ background: spec.background });
    // Shrinking while decoding JPEG is faster and less exact.
    const { data, info } = await upright
      .resize(width, height, { fit: "cover", kernel: "lanczos3", fastShrinkOnLoad: false })
      .toColourspace(channels === 1 ? "b-w" : "srgb").raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new DataError(`expected ${channels} channels, found ${info.channels}`);
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { pixels, isGrey: space === "b-w" || space === "grey16" };
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`broken: ${reasonOf(error)}`, { cause: error });
  }
}

/** The decoder's reason in words; a file that ends early is told as a warning, an error or the lack of either. */
function reasonOf(error: unknown): string {
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  if (/premature end|failOn|end of (?:stream|file)|truncated/i.test(line)) return "cut short or damaged";
  return line.replace(/^Vips\w+: |^\w+: |^Input (?:buffer|file) /, "");
}

/**
 * The image library sharp.
 *
 * @throws {CoopFlowError} if it cannot be loaded
 */
async function loadSharp(): Promise<typeof import("sharp").default> {
  try {
    // Imported when needed: loading it takes permissions, which importing the library must not.
    return (await import("sharp")).default;
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new CoopFlowError(`cannot load the image library sharp, which pictures need: ${reason}`, { cause: error });
  }
}
