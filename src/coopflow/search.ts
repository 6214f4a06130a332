/** The search for where the Langevin flow has to start to end at given images: what reconstruction, inpainting and interpolation rest on. */
import { DataError, UsageError } from "../errors.ts";
import { stepSizes } from "../energy/step_sizes.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Engine } from "./engine.ts";
import { parameters } from "./inference.ts";
import { drawSamples } from "./sampling.ts";
import { RECONSTRUCTION } from "./search_defaults.ts";

/** How to search. */
export interface SearchOptions {
  /** Steps of gradient descent. */
  readonly iterations?: number;
  /** Step j (from 0) is rate·decay^j times the gradient. */
  readonly rate?: number;
  readonly decay?: number;
  /** Seed of the starts, which are proposals of the flow. Default: the configuration's. */
  readonly seed?: number;
  /** Use the live parameters even if there are averaged ones. */
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
  /** Told of each step of each batch. */
  readonly onStep?: (step: SearchStep) => void;
}

/** One step for one batch of images. */
export interface SearchStep {
  /** Steps made, over all batches. */
  readonly done: number;
  /** Steps in all. */
  readonly total: number;
  /** Mean error of the batch's images before the step, per pixel that counts. */
  readonly error: number;
}

/** What a search found; images are [count, height, width, channels]. */
export interface Found {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Where the Langevin flow starts, in [−1, 1]. */
  readonly starts: Float32Array<ArrayBuffer>;
  /** Where it ends. */
  readonly images: Float32Array<ArrayBuffer>;
  /** Squared error of each image, summed over channels and divided by the number of pixels that count. */
  readonly errors: Float32Array<ArrayBuffer>;
  /** Peak signal-to-noise ratio of each image in dB: 10·log₁₀(4/mean squared error over the values that count). */
  readonly psnr: Float32Array<ArrayBuffer>;
}

/** A model, as these functions need it. */
export interface Searched {
  readonly engine: Engine;
  readonly config: CoopFlowConfig;
}

/** See {@linkcode pixelsOf}. */
export interface Pixels {
  readonly size: number;
  readonly values: number;
}

/** Pixels and values of an image. */
export function pixelsOf({ data: { height, width, channels } }: CoopFlowConfig): Pixels {
  return { size: height * width, values: height * width * channels };
}

function expectSettings({ iterations, rate, decay }: { iterations: number; rate: number; decay: number }): void {
  if (!Number.isSafeInteger(iterations) || iterations < 1) {
    throw new UsageError(`iterations: expected a whole number of at least 1, found ${iterations}`);
  }
  for (const [name, value] of [["rate", rate], ["decay", decay]] as const) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new UsageError(`${name}: expected a number above 0, found ${value}`);
    }
  }
}

/** How a {@linkcode search} ends and what counts. */
export interface Task {
  readonly defaults: { readonly iterations: number; readonly rate: number; readonly decay: number };
  /** 1 where a value counts: [height, width, channels]. */
  readonly mask?: Float32Array;
  /** Whether the images returned are those of before the last step, as the reference's inpainting has them. */
  readonly beforeLast?: boolean;
}

/**
 * Gradient descent for each image, batch by batch.
 *
 * @throws {CoopFlowError} if the error is not finite
 */
export async function search(
  { engine, config }: Searched,
  targets: Float32Array,
  task: Task,
  options: SearchOptions,
): Promise<Found> {
  const { iterations, rate, decay } = { ...task.defaults, ...given(options) };
  expectSettings({ iterations, rate, decay });
  const { values, size } = pixelsOf(config);
  const { height, width, channels } = config.data;
  const step_size = stepSizes(config.langevin, config.langevin.stepSize);
  const count = targets.length / values;
  // Shared out evenly: what fills a batch up costs as much as an image.
  const batches = Math.ceil(count / config.training.batch);
  const batch = Math.ceil(count / batches);
  const { averaged, name } = parameters(config, options.liveParameters);
  const masked = task.mask !== undefined;
  const counted = masked ? task.mask.reduce((sum, v) => sum + v, 0) / channels : size;
  const program = await engine.program(
    `reconstruct ${batch} ${name}${masked ? " masked" : ""}`,
    { kind: "reconstruct", config, averaged, batch, masked },
  );
  const { proposals } = await drawSamples(engine, config, count, options);
  const out = { starts: new Float32Array(targets.length), images: new Float32Array(targets.length) };
  const errors = new Float32Array(count);
  const mask = masked ? { mask: repeated(task.mask, batch) } : {};
  const last = task.beforeLast ? iterations - 1 : iterations;
  for (let b = 0; b < batches; b++) {
    const first = b * batch * values;
    const here = Math.min(batch, count - b * batch);
    const [target, start] = [targets, proposals].map((all) => {
      const padded = new Float32Array(batch * values);
      padded.set(all.subarray(first, first + here * values));
      return padded;
    }) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
    let now = start;
    for (let j = 0; j <= last; j++) {
      const feeds = { target, start: now, step_size, rate: rate * decay ** j, ...mask };
      const fetches = await engine.run(program, feeds, options.signal);
      const error = fetches["error"]!.subarray(0, here).map((sum) => sum / counted);
      const mean = error.reduce((a, e) => a + e, 0) / here;
      if (!Number.isFinite(mean)) {
        throw new DataError(`step ${j + 1}: expected a finite error, found ${mean}; lower the rate`);
      }
      if (j === last) {
        out.images.set(fetches["images"]!.subarray(0, here * values), first);
        errors.set(error, b * batch);
      }
      if (j < iterations) {
        now = new Float32Array(fetches["next"]!);
        options.onStep?.({ done: b * iterations + j + 1, total: batches * iterations, error: mean });
      }
    }
    out.starts.set(now.subarray(0, here * values), first);
  }
  const psnr = errors.map((error) => 10 * Math.log10(4 * channels / error));
  return { count, height, width, channels, ...out, errors, psnr };
}

/** The settings that are given. */
function given({ iterations, rate, decay }: SearchOptions): Partial<Task["defaults"]> {
  return {
    ...(iterations === undefined ? {} : { iterations }),
    ...(rate === undefined ? {} : { rate }),
    ...(decay === undefined ? {} : { decay }),
  };
}

/** `times` copies. */
export function repeated(data: Float32Array, times: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(data.length * times);
  for (let i = 0; i < times; i++) out.set(data, i * data.length);
  return out;
}

/** See {@linkcode CoopFlow.reconstruct}. */
export async function reconstructImages(model: Searched, images: Float32Array, options: SearchOptions): Promise<Found> {
  return await search(model, images, { defaults: RECONSTRUCTION }, options);
}
