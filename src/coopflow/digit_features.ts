/** Features of handwritten digits: what a small network that tells digits apart sees, for distances that mean more than pixels' do. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compileGraph } from "../compile/compile.ts";
import type { ImageSize } from "../data/dataset.ts";
import { DataError } from "../errors.ts";
import { avgPool2, feed, reshape, swish } from "../graph/build.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { parseSafetensors, toFloat32 } from "../io/safetensors.ts";
import { systemReason } from "../io/system_error.ts";
import type { FeatureExtractor } from "../metrics/extractors.ts";
import { Conv } from "../nn/conv.ts";
import { Params } from "../nn/params.ts";
import { Device, type DeviceOptions } from "../runtime/device.ts";
import type { Program } from "../runtime/program.ts";

/** Side of the digits. */
const SIDE = 8;
/** Classes. */
export const DIGITS = 10;
/** d, the width of the layer that features are taken from. */
export const DIGIT_FEATURES = 48;
const NAME = "digit network";

/** Whether the network takes images of this size. */
export function isDigits({ height, width, channels }: ImageSize): boolean {
  return height === SIDE && width === SIDE && channels === 1;
}

/** A number that features are multiplied by, so that those of the training digits have a mean variance of 1. */
export const SCALE = "scale";
/** Images of one run. */
const BATCH = 256;

/**
 * conv 3×3 (1 → 16), swish, conv 3×3 (16 → 32), swish, 2×2 pooling, conv 3×3 (32 → 32), swish, conv 4×4 (→ 48), swish: the features; then 10 logits.
 */
export class DigitNetwork {
  readonly params: Params;
  readonly #layers: readonly ((x: Value) => Value)[];
  readonly #logits: Conv;

  constructor(graph: Graph) {
    this.params = new Params(graph, "digits.");
    const conv = (name: string, i: number, o: number, kernel: number, padding: number): Conv =>
      new Conv(this.params.scope(name), i, o, kernel, { padding });
    const [first, second, third, fourth] = [
      conv("0", 1, 16, 3, 1),
      conv("1", 16, 32, 3, 1),
      conv("2", 32, 32, 3, 1),
      conv("3", 32, DIGIT_FEATURES, 4, 0),
    ];
    this.#layers = [
      (x) => swish(first.forward(x)),
      (x) => avgPool2(swish(second.forward(x))),
      (x) => swish(third.forward(x)),
      (x) => swish(fourth.forward(x)),
    ];
    this.#logits = conv("4", DIGIT_FEATURES, DIGITS, 1, 0);
  }

  /** [N,8,8,1] in [−1, 1] → features [N,48] and logits [N,10]. */
  forward(x: Value): { readonly features: Value; readonly logits: Value } {
    const features = this.#layers.reduce((h, layer) => layer(h), x);
    const logits = this.#logits.forward(features);
    const n = x.shape[0]!;
    return { features: reshape(features, [n, DIGIT_FEATURES]), logits: reshape(logits, [n, DIGITS]) };
  }
}

/** The built-in network as an extractor. Close it, or declare it with `using`. */
export class DigitFeatures implements FeatureExtractor, Disposable {
  readonly name = NAME;
  readonly preparation = "not resized; values from −1 to 1";
  readonly distances = { frechet: "digit-FID", kernel: "digit-KID" } as const;
  readonly dimension = DIGIT_FEATURES;
  readonly #device: Device;
  readonly #program: Program;
  readonly #scale: number;

  private constructor(device: Device, program: Program, scale: number) {
    this.#device = device;
    this.#program = program;
    this.#scale = scale;
  }

  /**
   * Opens a device of its own.
   *
   * @throws {DataError} if the file beside this module can't be read
   */
  static async open(options: DeviceOptions = {}): Promise<DigitFeatures> {
    const { tensors } = parseSafetensors(await fileBytes(), NAME);
    const tensor = (name: string): Float32Array => {
      const found = tensors.get(name);
      if (found === undefined) throw new DataError(`${NAME}: expected the tensor ${name}, found none`);
      return toFloat32(found);
    };
    const graph = new Graph();
    const network = new DigitNetwork(graph);
    const { features, logits } = network.forward(feed(graph, "images", [BATCH, SIDE, SIDE, 1]));
    graph.fetch("features", features);
    graph.fetch("logits", logits);
    const device = Device.open(options);
    try {
      for (const { name, shape } of network.params.specs) {
        device.setState(name, Float32Array.from(tensor(name)), shape);
      }
      return new DigitFeatures(
        device,
        device.load(compileGraph(graph, device.compileOptions).bytes),
        tensor(SCALE)[0]!,
      );
    } catch (error) {
      device.close();
      throw error;
    }
  }

  async extract(images: Float32Array, count: number): Promise<Float32Array> {
    const features = await this.#run("features", images, count, DIGIT_FEATURES);
    return features.map((value) => value * this.#scale);
  }

  /** Logits of the ten classes, [count, 10]. */
  async logits(images: Float32Array, count: number): Promise<Float32Array> {
    return await this.#run("logits", images, count, DIGITS);
  }

  async #run(what: "features" | "logits", images: Float32Array, count: number, width: number): Promise<Float32Array> {
    const size = SIDE * SIDE;
    if (images.length !== count * size) {
      throw new DataError(`${NAME}: expected ${count} grey images of ${SIDE}×${SIDE}, got ${images.length} values`);
    }
    const out = new Float32Array(count * width);
    const part = new Float32Array(BATCH * size);
    for (let first = 0; first < count; first += BATCH) {
      const n = Math.min(BATCH, count - first);
      part.set(images.subarray(first * size, (first + n) * size));
      const fetches = await this.#program.run({ images: part }, [what]);
      out.set(fetches[what]!.subarray(0, n * width), first * width);
    }
    return out;
  }

  [Symbol.dispose](): void {
    this.#device.close();
  }
}

async function fileBytes(): Promise<Uint8Array> {
  const url = new URL("./digit_features.safetensors", import.meta.url);
  try {
    // A module that was loaded over the network has its data there too.
    if (url.protocol !== "file:") return await (await fetch(url)).bytes();
    return await readFile(fileURLToPath(url));
  } catch (error) {
    throw new DataError(`cannot read the built-in ${NAME} at ${url.href}: ${systemReason(error)}`, { cause: error });
  }
}
