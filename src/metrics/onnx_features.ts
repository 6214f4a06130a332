/** Features of any network that is given as an ONNX file, run by onnxruntime in a process of its own. */

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { ImageSize } from "../data/dataset.ts";
import { DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import type { FeatureExtractor } from "./extractors.ts";

/** What a value of an image becomes: black and white in the network's input. */
export const VALUE_RANGES = { "0..1": [0, 1], "-1..1": [-1, 1], "0..255": [0, 255] } as const;
/** @see {@linkcode VALUE_RANGES} */
export type ValueRange = keyof typeof VALUE_RANGES;

/** Options of {@linkcode OnnxFeatures.open}. */
export interface OnnxOptions {
  /** Default 0..1, which is what pytorch-fid gives Inception. */
  readonly range?: ValueRange;
}

/** How the model takes images. */
interface Input {
  readonly layout: "NCHW" | "NHWC";
  readonly channels: 1 | 3;
  readonly height: number;
  readonly width: number;
}

/** Images of one run. */
const BATCH = 32;

/**
 * An ONNX model as an extractor: its first input takes images [N,C,H,W] or [N,H,W,C] in float32, its first output gives vectors [N,d] (or
 * [N,d,1,1]). Grey images become colour where the model wants it; images of another size than the model's are resized bilinearly (as PyTorch's
 * `interpolate` does with `align_corners=False`, without antialiasing). Close it, or declare it with `await using`.
 */
export class OnnxFeatures implements FeatureExtractor, AsyncDisposable {
  readonly name: string;
  readonly preparation: string;
  readonly distances = { frechet: "FID", kernel: "KID" } as const;
  readonly #size: ImageSize;
  readonly #input: Input;
  readonly #range: readonly [number, number];
  readonly #process: OnnxProcess;
  #dimension = 0;

  private constructor(path: string, size: ImageSize, input: Input, range: ValueRange, process: OnnxProcess) {
    this.name = basename(path);
    this.#size = size;
    this.#input = input;
    this.#range = VALUE_RANGES[range];
    this.#process = process;
    const same = input.height === size.height && input.width === size.width;
    const resized = same ? "not resized" : `bilinear to ${input.height}×${input.width}`;
    const grey = size.channels < input.channels ? "; grey repeated" : "";
    this.preparation = `${resized}; values ${range.replace("..", " to ")}${grey}`;
  }

  /**
   * Loads a model; onnxruntime (288 MB) is downloaded when it was never used before.
   *
   * @param size of the images that it will be given
   * @throws {DataError} if there is no such file, or it is no model that takes images
   */
  static async open(path: string, size: ImageSize, { range = "0..1" }: OnnxOptions = {}): Promise<OnnxFeatures> {
    await stat(path).catch((error) => {
      throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
    });
    const process = OnnxProcess.start(path);
    try {
      const input = inputOf(path, await process.description(), size);
      const features = new OnnxFeatures(path, size, input, range, process);
      const { length } = await features.extract(new Float32Array(size.height * size.width * size.channels), 1);
      features.#dimension = length;
      return features;
    } catch (error) {
      await process.close();
      throw error;
    }
  }

  get dimension(): number {
    return this.#dimension;
  }

  async extract(images: Float32Array, count: number): Promise<Float32Array> {
    const size = this.#size.height * this.#size.width * this.#size.channels;
    if (images.length !== count * size) {
      throw new DataError(`${this.name}: expected ${count} images of ${size} values, got ${images.length} values`);
    }
    const parts: Float32Array[] = [];
    for (let first = 0; first < count; first += BATCH) {
      const n = Math.min(BATCH, count - first);
      parts.push(await this.#run(images.subarray(first * size, (first + n) * size), n));
    }
    const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (out.set(part, at), at + part.length), 0);
    return out;
  }

  async #run(images: Float32Array, n: number): Promise<Float32Array> {
    const { layout, channels, height, width } = this.#input;
    const dims = layout === "NCHW" ? [n, channels, height, width] : [n, height, width, channels];
    const { shape, values } = await this.#process.run(dims, prepared(images, n, this.#size, this.#input, this.#range));
    const d = shape.slice(1).reduce((product, length) => product * length, 1);
    if (shape[0] !== n || shape.slice(2).some((length) => length !== 1)) {
      throw new DataError(
        `${this.name}: expected results [${n}, d], found [${shape}]; export the network with its pooling`,
      );
    }
    if (this.#dimension !== 0 && d !== this.#dimension) {
      throw new DataError(`${this.name}: expected ${this.#dimension} features, found ${d}`);
    }
    return values;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.close();
  }
}

/** What the model's first input is. Sizes that it leaves open are the images' own. */
function inputOf(path: string, { inputNames, type, shape }: Description, size: ImageSize): Input {
  const found = `found inputs ${inputNames.join(", ")}, the first ${type ?? "of unknown type"} [${shape ?? ""}]`;
  if (inputNames.length !== 1 || type !== "float32" || shape?.length !== 4) {
    throw new DataError(`${path}: expected a model with one input, float32 [N,C,H,W] or [N,H,W,C], ${found}`);
  }
  const isChannels = (n: number | string | undefined): n is 1 | 3 => n === 1 || n === 3;
  const layout = isChannels(shape[1]) ? "NCHW" : isChannels(shape[3]) ? "NHWC" : undefined;
  const channels = layout === "NCHW" ? shape[1] : shape[3];
  if (layout === undefined || !isChannels(channels)) {
    throw new DataError(`${path}: expected a model of images with 1 or 3 channels, first or last, ${found}`);
  }
  if (size.channels > channels) throw new DataError(`${path}: expected a model of colour images, ${found}`);
  const [height, width] = layout === "NCHW" ? shape.slice(2) : shape.slice(1, 3);
  const fixed = (n: number | string | undefined, own: number): number => typeof n === "number" && n > 0 ? n : own;
  return { layout, channels, height: fixed(height, size.height), width: fixed(width, size.width) };
}

/** Images as the model takes them. */
export function prepared(
  images: Float32Array,
  n: number,
  from: ImageSize,
  to: Input,
  [low, high]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(n * to.height * to.width * to.channels);
  const [rows, columns] = [taps(from.height, to.height), taps(from.width, to.width)];
  const size = from.height * from.width * from.channels;
  for (let image = 0; image < n; image++) {
    for (const [r, [top, bottom, down]] of rows.entries()) {
      for (const [c, [left, right, along]] of columns.entries()) {
        for (let channel = 0; channel < to.channels; channel++) {
          const at = (row: number, column: number): number =>
            images[image * size + (row * from.width + column) * from.channels + Math.min(channel, from.channels - 1)]!;
          const above = at(top, left) + along * (at(top, right) - at(top, left));
          const below = at(bottom, left) + along * (at(bottom, right) - at(bottom, left));
          const value = (above + down * (below - above) + 1) / 2;
          const place = to.layout === "NCHW"
            ? ((image * to.channels + channel) * to.height + r) * to.width + c
            : ((image * to.height + r) * to.width + c) * to.channels + channel;
          out[place] = low + (high - low) * value;
        }
      }
    }
  }
  return out;
}

/** Of each pixel along one side: its two neighbours in the original, and how far it is from the first. */
function taps(from: number, to: number): [number, number, number][] {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.max(0, (i + 0.5) * from / to - 0.5), first = Math.min(from - 1, Math.floor(position));
    return [first, Math.min(from - 1, first + 1), position - first];
  });
}

interface Description {
  readonly inputNames: readonly string[];
  readonly type?: string;
  readonly shape?: readonly (number | string)[];
}

/** The process of onnx_process.ts. */
class OnnxProcess {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly #complaint: Promise<string>;
  readonly #path: string;
  #left = new Uint8Array(0);

  private constructor(path: string) {
    this.#path = path;
    const script = fileURLToPath(new URL("./onnx_process.ts", import.meta.url));
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-config", "--no-lock", "--no-check", script, path],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.getReader();
    this.#complaint = new Response(this.#child.stderr).text();
  }

  static start(path: string): OnnxProcess {
    return new OnnxProcess(path);
  }

  async description(): Promise<Description> {
    return JSON.parse(new TextDecoder().decode(await this.#frame()));
  }

  async run(
    dims: readonly number[],
    values: Float32Array<ArrayBuffer>,
  ): Promise<{ shape: number[]; values: Float32Array }> {
    const header = new TextEncoder().encode(JSON.stringify(dims));
    const length = new Uint8Array(Uint32Array.of(header.length).buffer);
    for (const bytes of [length, header, new Uint8Array(values.buffer)]) {
      await this.#writer.write(bytes).catch(() => {}); // told of when its answer is missing
    }
    const shape: number[] = JSON.parse(new TextDecoder().decode(await this.#frame()));
    const bytes = await this.#read(4 * shape.reduce((product, n) => product * n, 1));
    return { shape, values: new Float32Array(bytes.buffer) };
  }

  async close(): Promise<void> {
    await this.#writer.close().catch(() => {}); // it may have ended by itself
    await this.#reader.cancel();
    await this.#child.status;
    await this.#complaint;
  }

  async #frame(): Promise<Uint8Array> {
    const [length = 0] = new Uint32Array((await this.#read(4)).buffer);
    return await this.#read(length);
  }

  /** The next n bytes, in memory of their own. */
  async #read(n: number): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(n);
    for (let at = 0; at < n;) {
      if (this.#left.length === 0) {
        const { value } = await this.#reader.read();
        if (value === undefined) {
          const why = (await this.#complaint).trim().split("\n").at(-1);
          throw new DataError(`${this.#path}: onnxruntime can't run it: ${why || "it ended without a word"}`);
        }
        this.#left = value;
      }
      const part = this.#left.subarray(0, n - at);
      out.set(part, at);
      this.#left = this.#left.subarray(part.length);
      at += part.length;
    }
    return out;
  }
}
