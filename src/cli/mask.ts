/** Masks of inpainting: a rectangle, or a picture. */
import { UsageError } from "../errors.ts";
import type { ImageSize } from "../data/dataset.ts";
import { readGrey } from "../io/png.ts";

/** Levels from here on hide a pixel. */
const HALF = 128;

/**
 * Which pixels are hidden, row by row: `X,Y,WIDTH,HEIGHT` in pixels, or a PNG file of the images' size whose bright pixels are. Without a text: the
 * reference's square, rows and columns 7 to 22 of 32, and as much of other sizes.
 *
 * @throws {UsageError} if it does not lie in the images
 * @throws {DataError} if the file can't be read
 */
export async function hiddenPixels(text: string | undefined, { height, width }: ImageSize): Promise<boolean[]> {
  const numbers = text?.split(",").map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : NaN)) ??
    [Math.floor(width * 7 / 32), Math.floor(height * 7 / 32), Math.floor(width / 2), Math.floor(height / 2)];
  if (text !== undefined && /\.png$/i.test(text)) return await fromPicture(text, height, width);
  const [x, y, w, h] = numbers as [number, number, number, number];
  if (numbers.length !== 4 || !numbers.every(Number.isSafeInteger) || x + w > width || y + h > height) {
    throw new UsageError(
      `--mask: expected X,Y,WIDTH,HEIGHT within ${width}×${height} pixels, or FILE.png, found ${JSON.stringify(text)}`,
    );
  }
  return Array.from({ length: height * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return row >= y && row < y + h && column >= x && column < x + w;
  });
}

async function fromPicture(path: string, height: number, width: number): Promise<boolean[]> {
  const picture = await readGrey(path);
  if (picture.height !== height || picture.width !== width) {
    throw new UsageError(
      `--mask: expected a picture of ${width}×${height} pixels, found ${picture.width}×${picture.height} in ${path}`,
    );
  }
  return Array.from(picture.data, (level) => level >= HALF);
}
