import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readSafetensors, toFloat32 } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { run, start, tinyFiles } from "./support.ts";

/** A folder with a tiny trained `run`. */
async function withRun(body: (folder: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const tiny = await tinyFiles(folder);
    const { code, err } = await run(folder, ["train", ...tiny, "--iterations", "1", "--out", "run", "--quiet"]);
    assertEquals(code, 0, err);
    await body(folder);
  });
}

const sample = (count: number, out: string, ...more: string[]): string[] => [
  "sample",
  "run",
  "--threads",
  "1",
  "--count",
  String(count),
  "--out",
  out,
  ...more,
];

/** Starts a command, and ends it by a signal once `ready`. */
async function interrupt(
  folder: string,
  args: readonly string[],
  signal: Deno.Signal,
  ready: () => boolean,
): Promise<{ code: number; err: string }> {
  const child = start(folder, args);
  const err = new Response(child.stderr).text();
  const out = new Response(child.stdout).text();
  const timer = setInterval(() => {
    if (!ready()) return;
    clearInterval(timer);
    child.kill(signal);
  }, 5);
  const { code } = await child.status;
  clearInterval(timer);
  await out;
  return { code, err: await err };
}

describe("sample", () => {
  it("goes on with a folder where it was interrupted", async () => {
    await withRun(async (folder) => {
      const files = (): string[] => namesIn(`${folder}/a`).filter((name) => name.startsWith("image_"));
      const ready = (): boolean => namesIn(folder).includes("a") && files().length > 30;
      const ended = await interrupt(folder, sample(1_000_000, "a", "--proposals"), "SIGINT", ready);
      assertEquals(ended.code, 130, ended.err);
      assertStringIncludes(ended.err, "of 1000000 images; the same command goes on");
      const before = files().length;
      assert(before < 1_000_000);
      const old = Deno.statSync(`${folder}/a/image_000000.png`).mtime;
      // What is left out is not noticed by looking at how many there are.
      await Deno.remove(`${folder}/a/proposal_000009.png`);
      const count = before + 30;
      const again = await run(folder, sample(count, "a", "--proposals"));
      assertEquals(again.code, 0, again.err);
      assertStringIncludes(again.err, `going on after 9 of ${count} images`);
      assertEquals(Deno.statSync(`${folder}/a/image_000000.png`).mtime, old);
      assertEquals((await run(folder, sample(count, "b", "--proposals"))).code, 0);
      const names = namesIn(`${folder}/b`);
      assertEquals(names.length, 2 * count + 1);
      assertEquals(namesIn(`${folder}/a`).filter((name) => !name.endsWith(".tmp")), names);
      for (const name of names) {
        assertEquals(await Deno.readFile(`${folder}/a/${name}`), await Deno.readFile(`${folder}/b/${name}`), name);
      }
      const more = await run(folder, sample(count, "a", "--proposals", "--grid"));
      assertStringIncludes(more.err, `all ${count} images were there`);
      const other = await run(folder, sample(count, "a", "--seed", "9"));
      assertEquals(other.code, 2);
      assertStringIncludes(other.err, "--out: expected a new folder, or one with images of the same model and seed");
    });
  });

  for (const [signal, code] of [["SIGTERM", 130], ["SIGKILL", 137]] as const) {
    it(`goes on with tensors and a picture after ${signal}`, async () => {
      await withRun(async (folder) => {
        for (const [out, ...more] of [["a.safetensors"], ["a.png", "--proposals"]] as const) {
          const whole = await run(folder, sample(6000, `whole.${out}`, ...more));
          assertEquals(whole.code, 0, whole.err);
          const part = `${out}.part`;
          let seen = 0;
          const ready = (): boolean => namesIn(folder).includes(part) && ++seen > 40;
          const ended = await interrupt(folder, sample(6000, out, ...more), signal, ready);
          assertEquals(ended.code, code, ended.err);
          assert(namesIn(folder).includes(part) && !namesIn(folder).includes(out));
          const other = await run(folder, sample(6000, out, ...more, "--seed", "8"));
          assertEquals(other.code, 1);
          assertStringIncludes(other.err, `${part}: expected what the same command left unfinished`);
          const again = await run(folder, sample(6000, out, ...more));
          assertEquals(again.code, 0, again.err);
          // It may have come before the first batch was written.
          const done = Number(/interrupted after (\d+) of 6000 images/.exec(ended.err)?.[1] ?? 0);
          if (done > 0) assertStringIncludes(again.err, `going on after ${done} of 6000 images`);
          assertEquals(await Deno.readFile(`${folder}/${out}`), await Deno.readFile(`${folder}/whole.${out}`));
          assert(!namesIn(folder).includes(part));
          assertStringIncludes((await run(folder, sample(6000, out, ...more))).err, "all 6000 images were there");
        }
      });
    });
  }

  it("shows the chains' states", async () => {
    await withRun(async (folder) => {
      for (const out of ["a.png", "a.apng", "a.safetensors"]) {
        const { code, out: said, err } = await run(folder, sample(6, out, "--trajectory"));
        assertEquals(code, 0, err);
        assertStringIncludes(said, `6 chains of iteration 1, 3 states of each, in ${out}`);
      }
      const view = new DataView((await Deno.readFile(`${folder}/a.png`)).buffer);
      // A row for each image, 4 pixels enlarged ten times.
      assertEquals([view.getUint32(16), view.getUint32(20)], [3 * 42 + 2, 6 * 42 + 2]);
      assertEquals((await run(folder, sample(6, "b.safetensors"))).code, 0);
      const [chains, plain] = await Promise.all(["a", "b"].map((n) => readSafetensors(`${folder}/${n}.safetensors`)));
      const states = toFloat32(chains!.tensors.get("trajectories")!);
      const [images, proposals] = ["images", "proposals"].map((name) => toFloat32(plain!.tensors.get(name)!));
      for (let i = 0; i < 6; i++) {
        assertEquals(states.subarray(i * 48, i * 48 + 16), proposals!.subarray(i * 16, i * 16 + 16));
        assertEquals(states.subarray(i * 48 + 32, i * 48 + 48), images!.subarray(i * 16, i * 16 + 16));
      }
      // Longer chains begin with the same steps.
      const longer = await run(folder, sample(6, "c.safetensors", "--trajectory", "--steps", "4"));
      assertStringIncludes(longer.out, "5 states of each", longer.err);
      const longChains = await readSafetensors(`${folder}/c.safetensors`);
      const longStates = toFloat32(longChains.tensors.get("trajectories")!);
      for (let i = 0; i < 6; i++) {
        assertEquals(longStates.subarray(i * 80, i * 80 + 48), states.subarray(i * 48, i * 48 + 48));
      }
    });
  });

  it("refuses steps for a model without chains", async () => {
    await withFolder(async (folder) => {
      const alone = ["--phase", "flow", "--iterations", "1", "--out", "run", "--quiet"];
      assertEquals((await run(folder, ["train", ...await tinyFiles(folder), ...alone])).code, 0);
      const { code, err } = await run(folder, sample(6, "a.safetensors", "--steps", "4"));
      assertEquals(code, 2);
      assertStringIncludes(err, "--steps: expected a model with a trained EBM, found one of phase flow");
    });
  });
});
