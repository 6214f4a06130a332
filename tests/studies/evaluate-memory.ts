/**
 * `deno task study evaluate-memory [MANY [FEW]]` (default 50000 1000): the time and the peak memory of `evaluate` over so many synthetic 32×32×3 images,
 * real and generated. Passes if MANY take no more than 200 MB beyond what FEW do.
 */
import { writeSafetensors } from "../../src/io/safetensors.ts";
import { randomBits } from "../../src/random.ts";
import { textTable } from "../../src/cli/text_table.ts";
import { run, start } from "../cli/support.ts";
import { withFolder } from "../io/support.ts";
import { peakMegabytes } from "../support/peak_memory.ts";

const SIZE = { height: 32, width: 32, channels: 3 };
const ELEMENTS = SIZE.height * SIZE.width * SIZE.channels;
const MOST_MEGABYTES = 200;

/** Networks as small as can be: what counts is what happens to images, not what makes them. */
const CONFIG = {
  data: { ...SIZE, levels: 256 },
  flow: { scales: [[0, 1]], channels: 4, blocks: 0, components: 1, dropout: 0, dequantization: "uniform" },
  energy: { kind: "plain", channels: 2 },
  langevin: { steps: 1, stepSize: 0.01 },
  training: { batch: 100, iterations: 1, initialisationImages: 100, sampleEvery: 1000 },
};

interface Measured {
  readonly images: number;
  readonly seconds: number;
  readonly megabytes: number;
}

async function writeImages(path: string, count: number): Promise<void> {
  // Half noise, half flat colours, so that no two sets are the same.
  const bytes = new Uint8Array(count * ELEMENTS);
  for (let i = 0; i < count; i++) {
    const bits = randomBits(0, "images", ELEMENTS, { sample: i });
    const colour = bits[0]! & 127;
    for (let e = 0; e < ELEMENTS; e++) bytes[i * ELEMENTS + e] = colour + (bits[e]! >>> 25);
  }
  const tensor = { dtype: "U8", shape: [count, SIZE.height, SIZE.width, SIZE.channels], bytes } as const;
  await writeSafetensors(path, new Map([["images", tensor]]));
}

/** Evaluates in a process of its own, whose peak the system keeps. */
async function measure(folder: string, images: number): Promise<Measured> {
  await writeImages(`${folder}/${images}.safetensors`, images);
  const args = ["evaluate", "run", "--data", `${images}.safetensors`, "--count", String(images)];
  const begin = performance.now();
  const metrics = "likelihood,distances,manifold,energies";
  const child = start(folder, [...args, "--metrics", metrics, "--out", `${images}.json`]);
  const text = new Response(child.stderr).text();
  const printing = new Response(child.stdout).text();
  const [printed, megabytes, { code }] = await Promise.all([printing, peakMegabytes(child), child.status]);
  if (code !== 0) throw new Error(`evaluate failed: ${await text}`);
  console.log(printed);
  return { images, seconds: (performance.now() - begin) / 1000, megabytes };
}

export async function main(args: readonly string[]): Promise<number> {
  const [many = NaN, few = NaN] = [args[0] ?? "50000", args[1] ?? "1000"].map(Number);
  if (!Number.isInteger(few) || !Number.isInteger(many) || few < 100 || many < few) {
    console.error(`evaluate-memory: expected numbers of images, the larger first, found ${args.join(" ")}`);
    return 2;
  }
  let passed = false;
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(CONFIG));
    await writeImages(`${folder}/train.safetensors`, 200);
    const train = ["train", "--config", "config.json", "--data", "train.safetensors", "--out", "run", "--quiet"];
    const { code, err } = await run(folder, train);
    if (code !== 0) throw new Error(`training failed: ${err}`);
    const found = [await measure(folder, few), await measure(folder, many)] as const;
    const rows = found.map(({ images, seconds, megabytes }) => [
      images.toLocaleString("en-US"),
      seconds.toFixed(1),
      megabytes.toFixed(0),
    ]);
    for (const line of textTable(["images", "seconds", "peak MB"], rows)) console.log(line);
    const more = found[1].megabytes - found[0].megabytes;
    passed = more <= MOST_MEGABYTES;
    console.log(`${more.toFixed(0)} MB more (at most ${MOST_MEGABYTES}: ${passed ? "pass" : "FAIL"})`);
  });
  return passed ? 0 : 1;
}
