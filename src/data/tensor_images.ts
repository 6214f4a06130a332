/** Images from a tensor of a file: what its axes and values mean is stated, or told from its shape and range. */

import { DataError } from "../errors.ts";
import { elementCount, type FileTensor, toFloat32 } from "../io/tensor.ts";
import { type Dataset, fromLevels } from "./dataset.ts";
import { FileDataset } from "./file_dataset.ts";

const DEFAULT_LEVELS = 256;
/** How far a float value may be from a level's exact value and still count as that level, in levels. */
const LEVEL_TOLERANCE = 0.01;

/** What is known of a tensor of images besides itself. */
export interface Statement {
  /** `N,H,W`, `N,H,W,C` or `N,C,H,W`. Absent: guessed from the shape. */
  readonly layout?: string | undefined;
  /** Number of levels. Absent: 256, or 2 for booleans. */
  readonly levels?: number | undefined;
  /** What the tensor is called, for errors. */
  readonly tensor: string;
  /** How to state a layout that cannot be guessed, for errors. */
  readonly remedy: string;
}

/** A data set and how it was understood. */
export interface TensorImages {
  readonly dataset: Dataset;
  readonly description: string;
}

/**
 * @throws {DataError} if the shape or the values are not those of images
 */
export function tensorImages(name: string, images: FileTensor, statement: Statement): TensorImages {
  const layout = layoutOf(name, images.shape, statement);
  const { data, levels, kind } = quantise(name, images, statement);
  const { height, width, channels } = layout;
  const nhwc = layout.channelsFirst ? channelsLast(data, height * width, channels) : data;
  const dataset = fromLevels({ name, height, width, channels, levels, data: nhwc });
  return { dataset, description: describe(dataset, layout.text, kind) };
}

/** Sets of fewer bytes are read at once. */
const LEAST_BYTES = 2 ** 25;

/**
 * Images that stay in their file, where they lie there as they are used: bytes of 256 levels, channels last, and so many that memory counts.
 * `undefined`: they have to be read.
 *
 * @param place the file, and where the tensor begins in it, in bytes
 */
export function imagesInFile(
  name: string,
  { dtype, shape }: Pick<FileTensor, "dtype" | "shape">,
  statement: Statement,
  place: { readonly path: string; readonly start: number },
): (TensorImages & { readonly dataset: FileDataset }) | undefined {
  const levels = statement.levels ?? DEFAULT_LEVELS;
  if (dtype !== "U8" || levels !== DEFAULT_LEVELS || elementCount(shape) < LEAST_BYTES) return undefined;
  const { channelsFirst, text, height, width, channels } = layoutOf(name, shape, statement);
  if (channelsFirst && channels > 1) return undefined;
  const count = shape[0] ?? 0;
  const dataset = new FileDataset({ ...place, name, height, width, channels, storedChannels: channels, levels, count });
  return { dataset, description: describe(dataset, text, `${levels} levels (${dtype}), read from the file as needed`) };
}

function describe({ count, height, width, channels }: Dataset, layout: string, kind: string): string {
  return `${count} images of ${height}×${width}×${channels} in ${layout}, ${kind}`;
}

interface Layout {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly channelsFirst: boolean;
  readonly text: string;
}

function layoutOf(name: string, shape: readonly number[], statement: Statement): Layout {
  const { tensor, layout: stated } = statement;
  const found = `[${shape.join(", ")}]`;
  const [n = 0, a = 0, b = 0, c = 0] = shape;
  if (shape.length !== 3 && shape.length !== 4) {
    throw new DataError(
      `${name}: expected ${tensor} of shape [N, H, W], [N, H, W, C] or [N, C, H, W], found ${found}`,
    );
  }
  if (n === 0) throw new DataError(`${name}: expected at least one image, found none (shape ${found})`);
  const text = stated?.replaceAll(/[\s,]/g, "").toUpperCase() ?? guessLayout(name, shape, statement.remedy);
  if (text === "NHW" && shape.length === 3) return { height: a, width: b, channels: 1, channelsFirst: false, text };
  if (text === "NHWC" && shape.length === 4) return { height: a, width: b, channels: c, channelsFirst: false, text };
  if (text === "NCHW" && shape.length === 4) return { height: b, width: c, channels: a, channelsFirst: true, text };
  throw new DataError(
    `${name}: expected the metadata "layout" to be "N,H,W", "N,H,W,C" or "N,C,H,W" and to fit shape ${found}, ` +
      `found ${JSON.stringify(stated)}`,
  );
}

function guessLayout(name: string, shape: readonly number[], remedy: string): string {
  if (shape.length === 3) return "NHW";
  const isChannels = (size: number | undefined) => size === 1 || size === 3;
  const first = isChannels(shape[1]);
  const last = isChannels(shape[3]);
  if (first !== last) return first ? "NCHW" : "NHWC";
  throw new DataError(
    `${name}: cannot tell which of [${shape.join(", ")}] are channels; ${remedy}`,
  );
}

/** Turns stored values into levels. Floats are taken for what their range says they are. */
function quantise(
  name: string,
  images: FileTensor,
  { levels: stated, tensor }: Statement,
): { data: Uint8Array; levels: number; kind: string } {
  const { dtype } = images;
  const levels = stated ?? (dtype === "BOOL" ? 2 : DEFAULT_LEVELS);
  if (dtype === "U8" || dtype === "BOOL") return { data: images.bytes, levels, kind: `${levels} levels (${dtype})` };
  const values = toFloat32(images);
  const top = levels - 1;
  const { low, high } = range(name, tensor, values);
  const { text, toLevel } = dtype.startsWith("F") ? scaleOf(name, low, high, top) : integerScale(name, low, high, top);
  const data = new Uint8Array(values.length);
  let rounded = 0;
  for (let i = 0; i < values.length; i++) {
    const exact = toLevel(values[i] ?? 0);
    const level = Math.round(exact);
    if (Math.abs(exact - level) > LEVEL_TOLERANCE) rounded++;
    data[i] = level;
  }
  const share = rounded === 0 ? "" : `, ${Math.ceil(100 * rounded / values.length)} % of the values rounded`;
  return { data, levels, kind: `${levels} levels (${dtype} in ${text}${share})` };
}

interface Scale {
  readonly text: string;
  readonly toLevel: (value: number) => number;
}

function integerScale(name: string, low: number, high: number, top: number): Scale {
  if (low >= 0 && high <= top) return { text: `levels 0 to ${top}`, toLevel: (value) => value };
  throw new DataError(`${name}: expected levels 0 to ${top}, found ${low} to ${high}`);
}

/** What floats of this range mean, and the level of a value. */
function scaleOf(name: string, low: number, high: number, top: number): Scale {
  if (low >= 0 && high <= 1) return { text: "[0, 1]", toLevel: (value) => value * top };
  if (low >= -1 && high <= 1) return { text: "[−1, 1]", toLevel: (value) => (value + 1) / 2 * top };
  if (low >= 0 && high <= top) return { text: `levels 0 to ${top}`, toLevel: (value) => value };
  throw new DataError(
    `${name}: expected values in [0, 1], in [−1, 1] or levels 0 to ${top}, found ${low} to ${high}`,
  );
}

function range(name: string, tensor: string, values: Float32Array): { low: number; high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    if (!Number.isFinite(value)) {
      throw new DataError(`${name}: expected finite values, found ${value} at position ${i} of ${tensor}`);
    }
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

function channelsLast(data: Uint8Array, pixels: number, channels: number): Uint8Array {
  const out = new Uint8Array(data.length);
  const elements = pixels * channels;
  for (let start = 0; start < data.length; start += elements) {
    for (let c = 0; c < channels; c++) {
      for (let p = 0; p < pixels; p++) out[start + p * channels + c] = data[start + c * pixels + p] ?? 0;
    }
  }
  return out;
}
