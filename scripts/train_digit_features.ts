// Trains the network whose features digits are compared by, and writes src/coopflow/digit_features.safetensors.
//
//   deno run -A scripts/train_digit_features.ts
//
// Half a minute. The held-out digits are never trained on; their accuracy is printed and has to be at least 97 %.

import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { REPOSITORY, setUp } from "./setup.ts";
import { runScript, SetupError } from "./support/setup_error.ts";
import { grad } from "../src/autodiff/grad.ts";
import { compileGraph } from "../src/compile/compile.ts";
import { DigitFeatures, DigitNetwork, DIGITS, SCALE } from "../src/coopflow/digit_features.ts";
import { digits } from "../src/data/digits.ts";
import { type Dataset, readAll } from "../src/data/dataset.ts";
import { feed, logSoftmax, mean, mul, neg, scalar, sum } from "../src/graph/build.ts";
import { Graph } from "../src/graph/graph.ts";
import { readSafetensors, tensorOf, toIntegers, writeSafetensors } from "../src/io/safetensors.ts";
import { momentsOf } from "../src/metrics/moments.ts";
import { adamStep, biasCorrections } from "../src/optim/adam.ts";
import { permutation, randomBits } from "../src/random.ts";
import { Device } from "../src/runtime/device.ts";

const SEED = 0;
const BATCH = 100;
const EPOCHS = 120;
const LEARNING_RATE = 2e-3;
const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupledDecay: 0.05 };
const LEAST_ACCURACY = 0.97;
const OUT = fileURLToPath(new URL("../src/coopflow/digit_features.safetensors", import.meta.url));

interface Labelled {
  readonly images: Float32Array;
  readonly labels: readonly number[];
}

async function labelled(): Promise<{ train: Labelled; heldout: Labelled }> {
  const { tensors } = await readSafetensors(join(REPOSITORY, "src/data/digits.safetensors"));
  const labels = toIntegers(tensors.get("labels")!);
  const apart = new Set(toIntegers(tensors.get("heldout")!));
  const all = await digits();
  const of = (images: Dataset, indices: readonly number[]): Labelled => ({
    images: readAll(images),
    labels: indices.map((i) => labels[i]!),
  });
  const indices = Array.from(labels, (_, i) => i);
  return {
    train: of(all.train, indices.filter((i) => !apart.has(i))),
    heldout: of(all.heldout, [...toIntegers(tensors.get("heldout")!)]),
  };
}

/** −Σ log p(label)/n and a step of AdamW. */
function learning(): { graph: Graph; network: DigitNetwork } {
  const graph = new Graph();
  const network = new DigitNetwork(graph);
  const { logits } = network.forward(feed(graph, "images", [BATCH, 8, 8, 1]));
  const classes = feed(graph, "classes", [BATCH, DIGITS]);
  const loss = scalar(neg(mean(sum(mul(logSoftmax(logits, 1), classes), [1]))));
  const params = network.params.trainable;
  const gradients = grad(loss, params.map(({ value }) => value));
  const scalars = { lr: feed(graph, "lr", []), c1: feed(graph, "c1", []), c2: feed(graph, "c2", []) };
  adamStep(params.map((param, i) => ({ param, gradient: gradients[i]! })), {
    options: ADAM,
    scalars,
    ok: feed(graph, "ok", []),
  });
  graph.fetch("loss", loss);
  return { graph, network };
}

/** Moves images by up to a pixel, which a digit stays itself under. */
function moved(image: Float32Array, bits: number): Float32Array {
  const [down, right] = [bits % 3 - 1, (bits >>> 8) % 3 - 1];
  return image.map((_, i) => {
    const [row, column] = [Math.floor(i / 8) - down, i % 8 - right];
    return row < 0 || row > 7 || column < 0 || column > 7 ? -1 : image[row * 8 + column]!;
  });
}

async function train({ images, labels }: Labelled): Promise<Map<string, ReturnType<typeof tensorOf>>> {
  const { graph, network } = learning();
  using device = Device.open({ device: "cpu" });
  for (const { name, shape, init } of network.params.specs) {
    device.setState(name, Float32Array.from(init(SEED)), shape);
  }
  using program = device.load(compileGraph(graph).bytes, { createMissing: true });
  const steps = EPOCHS * Math.floor(labels.length / BATCH);
  for (let step = 0; step < steps; step++) {
    const epoch = Math.floor(step * BATCH / labels.length), at = step * BATCH % labels.length;
    const order = permutation(SEED, "digit features", epoch, labels.length);
    const batch = new Float32Array(BATCH * 64), classes = new Float32Array(BATCH * DIGITS);
    const bits = randomBits(SEED, "digit moves", BATCH, { iteration: step });
    for (let i = 0; i < BATCH; i++) {
      const index = order[(at + i) % labels.length]!;
      batch.set(moved(images.subarray(index * 64, (index + 1) * 64), bits[i]!), i * 64);
      classes[i * DIGITS + labels[index]!] = 1;
    }
    const lr = LEARNING_RATE * 0.5 * (1 + Math.cos(Math.PI * step / steps));
    const { c1, c2 } = biasCorrections(ADAM, step + 1);
    const { loss } = await program.run({ images: batch, classes, lr, c1, c2, ok: 1 });
    if ((step + 1) % 300 === 0) console.log(`step ${step + 1} of ${steps}: loss ${loss![0]!.toFixed(4)}`);
  }
  return new Map(network.params.specs.map(({ name, shape }) => {
    const size = shape.reduce((product, n) => product * n, 1);
    return [name, tensorOf(shape, device.getState(name, size))];
  }));
}

async function accuracy({ images, labels }: Labelled): Promise<number> {
  using network = await DigitFeatures.open({ device: "cpu" });
  const logits = await network.logits(images, labels.length);
  const right = labels.filter((label, i) => {
    const row = logits.subarray(i * DIGITS, (i + 1) * DIGITS);
    return row.indexOf(Math.max(...row)) === label;
  });
  return right.length / labels.length;
}

async function meanVariance({ images, labels }: Labelled): Promise<number> {
  using network = await DigitFeatures.open({ device: "cpu" });
  const { covariance, dimension } = momentsOf(
    await network.extract(images, labels.length),
    labels.length,
    network.dimension,
  );
  return covariance.reduce((sum, value, i) => i % (dimension + 1) === 0 ? sum + value : sum, 0) / dimension;
}

async function main(): Promise<number> {
  await setUp({ install: false, tests: false });
  const { train: seen, heldout } = await labelled();
  const source = "trained by scripts/train_digit_features.ts on the digits that are not held out";
  const tensors = await train(seen);
  const write = async (scale: number): Promise<void> => {
    tensors.set(SCALE, tensorOf([1], Float32Array.of(scale)));
    await writeSafetensors(OUT, tensors, new Map([["source", source]]));
  };
  await write(1);
  await write(1 / Math.sqrt(await meanVariance(seen)));
  const found = await accuracy(heldout);
  console.log(`accuracy on ${heldout.labels.length} held-out digits: ${(100 * found).toFixed(2)} %`);
  if (found < LEAST_ACCURACY) {
    throw new SetupError(`expected an accuracy of at least ${LEAST_ACCURACY}, found ${found}`);
  }
  return 0;
}

if (import.meta.main) await runScript(main);
