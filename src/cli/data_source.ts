/** The data that a command's options name. */
import { type CoopFlowConfig, parseConfig } from "../coopflow/config.ts";
import { UsageError } from "../errors.ts";
import { checkDataset } from "../coopflow/inference.ts";
import { type Dataset, readImages, type Split } from "../data/dataset.ts";
import { digits } from "../data/digits.ts";
import { openDataset, type OpenedDataset, type OpenOptions, unusableText } from "../data/open.ts";
import type { NamedConfig } from "./config_source.ts";

/** Rows and columns of images. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** The options that say how data are read. */
export interface DataOptions {
  readonly size?: Size;
  readonly crop?: number;
  readonly background?: string;
  readonly strict?: boolean;
}

/** Who wants to know how reading goes, and who may stop it. */
export interface DataWatch {
  readonly signal?: AbortSignal;
  readonly say: (line: string) => void;
}

/** How often the decoding of pictures tells how far it is, in milliseconds. */
const PROGRESS_INTERVAL = 5000;
const SIZES = ["height", "width", "channels", "levels"] as const;

/** Opens data and says what it took. */
export async function openData(path: string, options: OpenOptions, { signal, say }: DataWatch): Promise<OpenedDataset> {
  const opened = await openDataset(path, { ...options, progress: decodingProgress(say), signal });
  say(`data: ${opened.format}: ${opened.description}`);
  if (opened.unusable.length > 0) say(unusableText(opened.unusable));
  return opened;
}

/** Says every few seconds how far the decoding of pictures is. */
export function decodingProgress(say: (line: string) => void): (done: number, total: number) => void {
  let told = performance.now();
  return (done, total) => {
    if (performance.now() - told < PROGRESS_INTERVAL) return;
    told = performance.now();
    say(`decoding pictures: ${done.toLocaleString("en-US")} of ${total.toLocaleString("en-US")}`);
  };
}

/**
 * What to ask of the data: what the configuration states, and of pictures, which leave more open, also the sizes of a preset that was asked for.
 */
export function wishes(
  { config, stated }: NamedConfig,
  options: DataOptions & { readonly preset?: string },
): OpenOptions {
  const { size, crop, background, strict } = options;
  const chosen = (key: typeof SIZES[number]): number | undefined =>
    stated.has(key) || (key !== "levels" && options.preset !== undefined) ? config.data[key] : undefined;
  return {
    height: size?.height ?? chosen("height"),
    width: size?.width ?? chosen("width"),
    channels: chosen("channels"),
    levels: chosen("levels"),
    crop,
    background,
    strict,
  };
}

/**
 * The configuration with the sizes of the data, where none are stated.
 *
 * @throws {ConfigError} if the networks can't have these sizes
 */
export function fitted({ config, stated }: NamedConfig, size: Size | undefined, data: Dataset): CoopFlowConfig {
  const sizes = Object.fromEntries(SIZES.map((key) => [key, stated.has(key) ? config.data[key] : data[key]]));
  return parseConfig({ ...config, data: { ...config.data, ...sizes, ...size } });
}

/** @throws {UsageError} if one of the options is given */
export function expectNone(options: Readonly<Record<string, unknown>>, remedy: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) throw new UsageError(`--${name}: ${remedy}`);
  }
}

/** Images that a file may have to be kept open for. */
export type ClosableSplit = Split & { readonly close?: () => void };

/**
 * The built-in digits.
 *
 * @throws {UsageError} if the configuration's images are of another size
 */
export async function builtIn(config: CoopFlowConfig): Promise<ClosableSplit> {
  const data = await digits();
  const { height, width, channels } = config.data;
  const { train: images } = data;
  if (height !== images.height || width !== images.width || channels !== images.channels) {
    const own = `${images.height}×${images.width}×${images.channels}`;
    throw new UsageError(
      `expected --data with images of ${height}×${width}×${channels}, found none; those built in are ${own}, for --preset digits`,
    );
  }
  return data;
}

/** Images to use a trained model on. Close it, or declare it with `using`. */
export interface GivenImages extends Disposable {
  readonly data: Dataset;
  /** Which part of the data set they are. */
  readonly part: keyof Split;
  /** Those to learn from. */
  readonly train: Dataset;
}

/**
 * The images of a data set.
 *
 * @param path the data set; absent: the built-in digits
 * @param part which images: those to learn from, or, if there are any, those that are held out
 * @throws {DataError} if they are not of the configuration's size
 */
export async function givenImages(
  config: CoopFlowConfig,
  path: string | undefined,
  part: keyof Split = "heldout",
): Promise<GivenImages> {
  const { height, width, channels, levels } = config.data;
  const opened: ClosableSplit = path === undefined
    ? await builtIn(config)
    : await openDataset(path, { height, width, channels, levels });
  const close = (): void => opened.close?.();
  try {
    const data = opened[part] ?? opened.train;
    checkDataset(config, data);
    return { data, part: opened[part] === undefined ? "train" : part, train: opened.train, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Number of images to use.
 *
 * @throws {UsageError} if `count` is more than there are
 */
export function usedImages(data: Dataset, count: number | undefined, option = "--count"): number {
  if (count === undefined || count <= data.count) return count ?? data.count;
  throw new UsageError(`${option}: expected at most the ${data.count} images of ${data.name}, found ${count}`);
}

/** The first `count` of {@linkcode givenImages}. */
export async function firstImages(
  config: CoopFlowConfig,
  path: string | undefined,
  count: number,
): Promise<Float32Array> {
  using given = await givenImages(config, path);
  return readImages(given.data, 0, usedImages(given.data, count));
}
