import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { withFolder } from "../io/support.ts";
import { cifarBinary, cifarPython, idx, npy, npz, pixels, svhn, tar } from "./files.ts";

const COUNT = 10;
/** Batches of 4 from 10 images: iterations 2, 4, 7 … cross from one epoch to the next. */
const ITERATIONS = 400;
const small = pixels(COUNT, 4 * 4 * 3);
const cifar = pixels(COUNT, 3072);

async function picture(at: number): Promise<Uint8Array> {
  return await sharp(small.slice(48 * at, 48 * at + 48), { raw: { width: 4, height: 4, channels: 3 } }).png()
    .toBuffer();
}

/** Writes a data set of each kind; returns its path. */
const KINDS: Readonly<Record<string, (folder: string) => Promise<string>>> = {
  "a safetensors file": async (folder) => {
    const images = tensorOf([COUNT, 4, 4, 3], small);
    await writeSafetensors(`${folder}/set.safetensors`, new Map([["images", images]]), new Map([["layout", "NHWC"]]));
    return `${folder}/set.safetensors`;
  },
  "a NumPy array": (folder) => file(`${folder}/set.npy`, npy("|u1", [COUNT, 4, 4, 3], small)),
  "a NumPy archive": (folder) => file(`${folder}/set.npz`, npz({ images: npy("|u1", [COUNT, 4, 4, 3], small) })),
  "an IDX file": (folder) => file(`${folder}/set.gz`, gzipSync(idx([COUNT, 12, 4], small))),
  "an SVHN file": (folder) => file(`${folder}/set.mat`, svhn(COUNT, 4, small)),
  "a CIFAR-10 folder": async (folder) => {
    await file(`${folder}/data_batch_1.bin`, cifarBinary(COUNT, cifar));
    return folder;
  },
  "a CIFAR-10 Python folder": async (folder) => {
    await file(`${folder}/data_batch_1`, cifarPython(COUNT, cifar));
    return folder;
  },
  "a CIFAR-10 archive": (folder) =>
    file(`${folder}/set.tar.gz`, gzipSync(tar([{ path: "c/data_batch_1.bin", data: cifarBinary(COUNT, cifar) }]))),
  "a folder of pictures": async (folder) => {
    for (let i = 0; i < COUNT; i++) await file(`${folder}/${i}.png`, await picture(i));
    await file(`${folder}/broken.png`, (await picture(0)).subarray(0, 60));
    return folder;
  },
};

async function file(path: string, bytes: Uint8Array): Promise<string> {
  await Deno.writeFile(path, bytes);
  return path;
}

/** The lines that a process prints; it is killed as soon as it has printed `kill` of them. */
async function batches(path: string, cache: string, from: number, kill = Infinity): Promise<string[]> {
  const script = new URL("./batch_hashes.ts", import.meta.url).pathname;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", config, script, path, cache, String(from), String(ITERATIONS)],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  let isKilled = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (!isKilled && text.split("\n").length > kill) {
      isKilled = true;
      child.kill("SIGKILL");
    }
  }
  const { success } = await child.status;
  assert(success || isKilled);
  // What follows the last newline is nothing, or torn.
  return text.split("\n").slice(0, -1);
}

describe("a killed run that goes on", () => {
  for (const [what, write] of Object.entries(KINDS)) {
    it(`sees the same batches of ${what} as one that was never killed`, async () => {
      await withFolder(async (folder) => {
        await Deno.mkdir(`${folder}/data`);
        const path = await write(`${folder}/data`);
        const whole = await batches(path, `${folder}/cache`, 0);
        assertEquals(whole.length, ITERATIONS);
        const first = await batches(path, `${folder}/other_cache`, 0, 3);
        // A run goes on after its last complete checkpoint, here in the middle of the second epoch.
        const from = Math.min(first.length, 4);
        const rest = await batches(path, `${folder}/other_cache`, from);
        assertEquals([...first.slice(0, from), ...rest], whole);
        assert(new Set(whole.map((line) => line.split(" ")[1])).size > ITERATIONS / 2);
      });
    });
  }
});
