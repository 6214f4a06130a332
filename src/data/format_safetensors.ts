/** Data sets in safetensors files; `README.md` beside this file says what they hold. */

import { DataError } from "../errors.ts";
import { parseSafetensors, type ReadOptions, type Safetensors, SafetensorsFile } from "../io/safetensors.ts";
import { type FileTensor, toIntegers } from "../io/tensor.ts";
import { type DescribedSplit, type OpenedSplit, subset } from "./dataset.ts";
import { imagesInFile, type Statement, type TensorImages, tensorImages } from "./tensor_images.ts";

const IMAGES = "images";
const HELD_OUT = "heldout";
const REMEDY = 'add metadata "layout": "N,H,W,C" or "N,C,H,W" to the file';

/**
 * Opens a file; reads only the tensors that it uses.
 *
 * @param levels number of levels, where the file does not say
 */
export async function openSafetensorsDataset(
  path: string,
  options: ReadOptions & { readonly levels?: number | undefined } = {},
): Promise<OpenedSplit> {
  await using file = await SafetensorsFile.open(path, options);
  const heldout = file.tensors.has(HELD_OUT) ? await file.read(HELD_OUT) : undefined;
  const statement = statementOf(path, file.metadata, options.levels);
  const entry = file.tensors.get(IMAGES);
  const inFile = entry === undefined
    ? undefined
    : imagesInFile(path, entry, statement, { path, start: file.startOf(IMAGES) });
  if (inFile === undefined) return splitOf(path, tensorImages(path, await file.read(IMAGES), statement), heldout);
  const close = (): void => inFile.dataset.close();
  try {
    return { ...splitOf(path, inFile, heldout), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The same for a file in memory. */
export function parseSafetensorsDataset(bytes: Uint8Array, name: string): DescribedSplit {
  const { tensors, metadata }: Safetensors = parseSafetensors(bytes, name);
  const images = tensors.get(IMAGES);
  if (images === undefined) {
    throw new DataError(`${name}: expected a tensor named ${IMAGES}, found ${[...tensors.keys()].join(", ")}`);
  }
  const all = tensorImages(name, images, statementOf(name, metadata, undefined));
  return splitOf(name, all, tensors.get(HELD_OUT));
}

function statementOf(name: string, metadata: ReadonlyMap<string, string>, levels: number | undefined): Statement {
  return {
    layout: metadata.get("layout"),
    levels: levelsOf(name, metadata.get("levels")) ?? levels,
    tensor: IMAGES,
    remedy: REMEDY,
  };
}

function splitOf(
  name: string,
  { dataset: all, description }: TensorImages,
  heldout: FileTensor | undefined,
): DescribedSplit {
  if (heldout === undefined) return { train: all, heldout: undefined, description };

  const [kept, apart] = split(name, heldout, all.count);
  return {
    train: subset(all, `${name} (training)`, kept),
    heldout: subset(all, `${name} (held out)`, apart),
    description: `${description}, ${apart.length} of them held out`,
  };
}

function levelsOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const levels = Number(text);
  if (Number.isInteger(levels) && levels >= 2 && levels <= 256) return levels;
  throw new DataError(`${name}: expected the metadata "levels" to be 2 to 256, found ${JSON.stringify(text)}`);
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
