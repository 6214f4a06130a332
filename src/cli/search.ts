/** `coopflow reconstruct`, `inpaint` and `interpolate`. */
import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { observed } from "../coopflow/inpaint.ts";
import { expectPairs } from "../coopflow/interpolate.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import type { Found, SearchOptions } from "../coopflow/search.ts";
import { writePng } from "../io/png.ts";
import { type FileTensor, tensorOf, writeSafetensors } from "../io/safetensors.ts";
import { imageGrid } from "../metrics/grid.ts";
import { firstImages } from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";
import { hiddenPixels } from "./mask.ts";
import { findConfig } from "./checkpoint_source.ts";
import { openModel } from "./model_source.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { expectWritable } from "./output.ts";
import { Rate } from "./rate.ts";
import { INPAINT, INTERPOLATE, RECONSTRUCT, type SearchDefaults } from "./search_defaults.ts";

/** The options that the three commands share. */
export interface SearchCommandOptions extends DeviceFlags {
  readonly data?: string;
  readonly count: number;
  readonly out: string;
  readonly iterations?: number;
  readonly rate?: number;
  readonly decay?: number;
  readonly seed?: number;
  readonly liveParameters?: boolean;
}

/** Options of `inpaint`. */
export interface InpaintCommandOptions extends SearchCommandOptions {
  readonly mask?: string;
  readonly completions?: number;
}

/** Options of `interpolate`. */
export interface InterpolateCommandOptions extends SearchCommandOptions {
  readonly points?: number;
  readonly path?: "linear" | "spherical";
  readonly random?: number;
}

/** Images of shape [..., height, width, channels] and their meaning, to be written. */
interface Results {
  /** Images row by row, `columns` in each. */
  readonly picture: { readonly images: Float32Array; readonly columns: number };
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

/** What to do with a model, once it is open. */
type Work = (model: CoopFlow, how: SearchOptions) => Promise<Results>;

/**
 * Opens the model, works, and writes what came out.
 *
 * @param prepare reads and checks what was given, before the model is opened
 */
async function run(
  path: string,
  options: SearchCommandOptions,
  prepare: (config: CoopFlowConfig) => Promise<Work>,
): Promise<number> {
  const { out, seed, liveParameters, iterations, rate, decay } = options;
  const kind = extname(out).toLowerCase();
  if (kind !== ".png" && kind !== ".safetensors") {
    throw new UsageError(`--out: expected FILE.png or FILE.safetensors, found ${out}`);
  }
  using interruption = listenForInterruption((line) => console.error(line));
  const work = await prepare(await findConfig(path));
  await expectWritable(out);
  await using model = await openModel(path, deviceOptions(options), (line) => console.error(line));
  using progress = new Rate("step");
  const { picture, tensors } = await work(model, {
    ...(seed === undefined ? {} : { seed }),
    ...(iterations === undefined ? {} : { iterations }),
    ...(rate === undefined ? {} : { rate }),
    ...(decay === undefined ? {} : { decay }),
    liveParameters: liveParameters ?? false,
    signal: interruption.signal,
    onStep: ({ done, total, error }) => progress.update(done, total, `error ${error.toPrecision(3)}`),
  });
  const { height, width, channels } = model.config.data;
  if (kind === ".png") {
    const { images, columns } = picture;
    const panel = { height, width, channels, images, count: images.length / (height * width * channels) };
    await writePng(out, imageGrid([panel], { columns }));
  } else await writeSafetensors(out, tensors, new Map([["layout", "N,H,W,C"]]));
  return 0;
}

/** The rest of the defaults is the library's own. */
function countAndOut({ count, out }: SearchDefaults): Pick<SearchDefaults, "count" | "out"> {
  return { count, out };
}

function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Rows of images: part i of each list, list after list; `repeats` of the last list in each row. */
function rows(lists: readonly Float32Array[], size: number, count: number, repeats = 1): Float32Array {
  const columns = lists.length - 1 + repeats;
  const out = new Float32Array(count * columns * size);
  for (let i = 0; i < count; i++) {
    const parts = lists.map((list, k) => {
      const width = (k === lists.length - 1 ? repeats : 1) * size;
      return list.subarray(i * width, (i + 1) * width);
    });
    let at = i * columns * size;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
  }
  return out;
}

function foundTensors(found: Found, more: Readonly<Record<string, Float32Array>>): Map<string, FileTensor> {
  const { count, height, width, channels } = found;
  const size = height * width * channels;
  const images = { ...more, starts: found.starts, images: found.images };
  return new Map([
    ...Object.entries(images).map(([name, data]) =>
      [name, tensorOf([data.length / size, height, width, channels], data)] as const
    ),
    ["errors", tensorOf([count], found.errors)] as const,
    ["psnr", tensorOf([count], found.psnr)] as const,
  ]);
}

function sizeOf({ data: { height, width, channels } }: CoopFlowConfig): number {
  return height * width * channels;
}

/** Runs `reconstruct`; returns the exit code. */
export async function reconstructCommand(path: string, options: Partial<SearchCommandOptions>): Promise<number> {
  const given = { ...countAndOut(RECONSTRUCT), ...options };
  return await run(path, given, async (config) => {
    const images = await firstImages(config, given.data, given.count);
    return async (model, how) => {
      const found = await model.reconstruct(images, how);
      console.log(
        `${found.count} images | starts | reconstructions in ${given.out}: error per pixel ${
          mean(found.errors).toPrecision(3)
        }, PSNR ${mean(found.psnr).toFixed(2)} dB`,
      );
      return {
        picture: { images: rows([images, found.starts, found.images], sizeOf(config), found.count), columns: 3 },
        tensors: foundTensors(found, { targets: images }),
      };
    };
  });
}

/** Runs `inpaint`; returns the exit code. */
export async function inpaintCommand(path: string, options: Partial<InpaintCommandOptions>): Promise<number> {
  const given = { ...countAndOut(INPAINT), completions: 20, ...options };
  return await run(path, given, async (config) => {
    const hidden = await hiddenPixels(given.mask, config.data);
    observed(config, hidden);
    const images = await firstImages(config, given.data, given.count);
    const { completions } = given;
    const size = sizeOf(config);
    const masked = images.map((value, i) => (hidden[Math.floor(i % size / config.data.channels)] ? 0 : value));
    return async (model, how) => {
      const found = await model.inpaint(images, hidden, { ...how, completions });
      console.log(
        `${given.count} images | hidden | ${completions} completions each in ${given.out}: error per observed pixel ${
          mean(found.errors).toPrecision(3)
        }`,
      );
      return {
        picture: {
          images: rows([images, masked, found.images], size, given.count, completions),
          columns: completions + 2,
        },
        tensors: foundTensors(found, { targets: images, masked }),
      };
    };
  });
}

/** Runs `interpolate`; returns the exit code. */
export async function interpolateCommand(path: string, options: Partial<InterpolateCommandOptions>): Promise<number> {
  const given = { ...countAndOut(INTERPOLATE), points: 21, ...options };
  if (given.random !== undefined && given.data !== undefined) {
    throw new UsageError("expected --data or --random, found both");
  }
  return await run(path, given, async (config) => {
    if (given.random === undefined) expectPairs(given.count);
    const between = given.random ?? await firstImages(config, given.data, given.count);
    return async (model, how) => {
      const { path: way } = given;
      const found = await model.interpolate(between, {
        ...how,
        points: given.points,
        ...(way === undefined ? {} : { path: way }),
      });
      const { pairs, points, height, width, channels, images } = found;
      console.log(`${pairs} walks of ${points} images in ${given.out}`);
      return {
        picture: { images, columns: points },
        tensors: new Map([["images", tensorOf([pairs, points, height, width, channels], images)]]),
      };
    };
  });
}
