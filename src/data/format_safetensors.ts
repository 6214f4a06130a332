/** Data sets in safetensors files; `README.md` beside this file says what they hold. */

import { DataError } from "../errors.ts";
import { parseSafetensors, type ReadOptions, type Safetensors, SafetensorsFile } from "../io/safetensors.ts";
import { type FileTensor, toFloat32, toIntegers } from "../io/tensor.ts";
import { type DescribedSplit, fromLevels, subset } from "./dataset.ts";

const IMAGES = "images";
const HELD_OUT = "heldout";
const DEFAULT_LEVELS = 256;
/** How far a float value may be from a level's exact value and still count as that level, in levels. */
const LEVEL_TOLERANCE = 0.01;

/** Opens a file; reads only the tensors that it uses. */
export async function openSafetensorsDataset(path: string, options: ReadOptions = {}): Promise<DescribedSplit> {
  await using file = await SafetensorsFile.open(path, options);
  const images = await file.read(IMAGES);
  const heldout = file.tensors.has(HELD_OUT) ? await file.read(HELD_OUT) : undefined;
  return datasetOf(path, images, heldout, file.metadata);
}

/** The same for a file in memory. */
export function parseSafetensorsDataset(bytes: Uint8Array, name: string): DescribedSplit {
  const { tensors, metadata }: Safetensors = parseSafetensors(bytes, name);
  const images = tensors.get(IMAGES);
  if (images === undefined) {
    throw new DataError(`${name}: expected a tensor named ${IMAGES}, found ${[...tensors.keys()].join(", ")}`);
  }
  return datasetOf(name, images, tensors.get(HELD_OUT), metadata);
}

function datasetOf(
  name: string,
  images: FileTensor,
  heldout: FileTensor | undefined,
  metadata: ReadonlyMap<string, string>,
): DescribedSplit {
  const layout = layoutOf(name, images.shape, metadata.get("layout"));
  const stated = levelsOf(name, metadata.get("levels"));
  const { data, levels, kind } = quantise(name, images, stated);
  const { height, width, channels } = layout;
  const nhwc = layout.channelsFirst ? channelsLast(data, height * width, channels) : data;
  const all = fromLevels({ name, height, width, channels, levels, data: nhwc });
  const description = `${all.count} images of ${height}×${width}×${channels} in ${layout.text}, ${kind}`;
  if (heldout === undefined) return { train: all, heldout: undefined, description };

  const [kept, apart] = split(name, heldout, all.count);
  return {
    train: subset(all, `${name} (training)`, kept),
    heldout: subset(all, `${name} (held out)`, apart),
    description: `${description}, ${apart.length} of them held out`,
  };
}

interface Layout {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly channelsFirst: boolean;
  readonly text: string;
}

function layoutOf(name: string, shape: readonly number[], stated: string | undefined): Layout {
  const found = `[${shape.join(", ")}]`;
  const [n = 0, a = 0, b = 0, c = 0] = shape;
  if (shape.length !== 3 && shape.length !== 4) {
    throw new DataError(
      `${name}: expected ${IMAGES} of shape [N, H, W], [N, H, W, C] or [N, C, H, W], found ${found}`,
    );
  }
  if (n === 0) throw new DataError(`${name}: expected at least one image, found none (shape ${found})`);
  const text = stated?.replaceAll(/[\s,]/g, "").toUpperCase() ?? guessLayout(name, shape);
  if (text === "NHW" && shape.length === 3) return { height: a, width: b, channels: 1, channelsFirst: false, text };
  if (text === "NHWC" && shape.length === 4) return { height: a, width: b, channels: c, channelsFirst: false, text };
  if (text === "NCHW" && shape.length === 4) return { height: b, width: c, channels: a, channelsFirst: true, text };
  throw new DataError(
    `${name}: expected the metadata "layout" to be "N,H,W", "N,H,W,C" or "N,C,H,W" and to fit shape ${found}, ` +
      `found ${JSON.stringify(stated)}`,
  );
}

function guessLayout(name: string, shape: readonly number[]): string {
  if (shape.length === 3) return "NHW";
  const isChannels = (size: number | undefined) => size === 1 || size === 3;
  const first = isChannels(shape[1]);
  const last = isChannels(shape[3]);
  if (first !== last) return first ? "NCHW" : "NHWC";
  throw new DataError(
    `${name}: cannot tell which of [${shape.join(", ")}] are channels; ` +
      `add metadata "layout": "N,H,W,C" or "N,C,H,W" to the file`,
  );
}

function levelsOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const levels = Number(text);
  if (Number.isInteger(levels) && levels >= 2 && levels <= 256) return levels;
  throw new DataError(`${name}: expected the metadata "levels" to be 2 to 256, found ${JSON.stringify(text)}`);
}

/** Turns stored values into levels. Floats are taken for what their range says they are. */
function quantise(
  name: string,
  images: FileTensor,
  stated: number | undefined,
): { data: Uint8Array; levels: number; kind: string } {
  const levels = stated ?? DEFAULT_LEVELS;
  if (images.dtype === "U8") return { data: images.bytes, levels, kind: `${levels} levels (U8)` };
  if (images.dtype !== "F32") {
    throw new DataError(`${name}: expected ${IMAGES} of type U8 or F32, found ${images.dtype}`);
  }
  const values = toFloat32(images);
  const top = levels - 1;
  const { text, toLevel } = scaleOf(name, values, top);
  const data = new Uint8Array(values.length);
  let rounded = 0;
  for (let i = 0; i < values.length; i++) {
    const exact = toLevel(values[i] ?? 0);
    const level = Math.round(exact);
    if (Math.abs(exact - level) > LEVEL_TOLERANCE) rounded++;
    data[i] = level;
  }
  const share = rounded === 0 ? "" : `, ${Math.ceil(100 * rounded / values.length)} % of the values rounded`;
  return { data, levels, kind: `${levels} levels (F32 in ${text}${share})` };
}

/** What floats of this range mean, and the level of a value. */
function scaleOf(
  name: string,
  values: Float32Array,
  top: number,
): { text: string; toLevel: (value: number) => number } {
  const { low, high } = range(name, values);
  if (low >= 0 && high <= 1) return { text: "[0, 1]", toLevel: (value) => value * top };
  if (low >= -1 && high <= 1) return { text: "[−1, 1]", toLevel: (value) => (value + 1) / 2 * top };
  if (low >= 0 && high <= top) return { text: `levels 0 to ${top}`, toLevel: (value) => value };
  throw new DataError(
    `${name}: expected values in [0, 1], in [−1, 1] or levels 0 to ${top}, found ${low} to ${high}`,
  );
}

function range(name: string, values: Float32Array): { low: number; high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    if (!Number.isFinite(value)) {
      throw new DataError(`${name}: expected finite values, found ${value} at position ${i} of ${IMAGES}`);
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

/** Indices of the images to train on, and of those set apart. */
function split(name: string, heldout: FileTensor, count: number): [Uint32Array, Uint32Array] {
  const apart = toIntegers(heldout);
  const isApart = new Uint8Array(count);
  for (const index of apart) {
    if (index < 0 || index >= count) {
      throw new DataError(`${name}: expected the indices in ${HELD_OUT} to be 0 to ${count - 1}, found ${index}`);
    }
    if (isApart[index] === 1) throw new DataError(`${name}: index ${index} occurs twice in ${HELD_OUT}`);
    isApart[index] = 1;
  }
  if (apart.length === 0 || apart.length === count) {
    throw new DataError(`${name}: expected ${HELD_OUT} to name some but not all images, it names ${apart.length}`);
  }
  const kept = new Uint32Array(count - apart.length);
  let next = 0;
  for (let index = 0; index < count; index++) if (isApart[index] === 0) kept[next++] = index;
  return [kept, Uint32Array.from(apart)];
}
