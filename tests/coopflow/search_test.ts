import { assert, assertAlmostEquals, assertEquals, assertLess, assertNotEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { parseConfig } from "../../src/coopflow/config.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import type { SearchStep } from "../../src/coopflow/search.ts";
import { readAll } from "../../src/data/dataset.ts";
import { CancelledError, DataError, UsageError } from "../../src/errors.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

// Energies that change the images by a good part, so that there is something to find.
const LIVELY = parseConfig({ ...TINY, langevin: { ...TINY.langevin, steps: 5, stepSize: 0.5 } });

/** A model whose energy's last layer is strong. */
function lively(): CoopFlow {
  const values = new Map(
    modelStates(LIVELY).all.map((spec) => {
      const value = spec.init(LIVELY.seed);
      if (/f\.2\.weight$/.test(spec.name)) value.forEach((v, i) => value[i] = 3 * v);
      if (spec.name.endsWith("inv_std") || spec.name.endsWith("is_initialized")) value.fill(1);
      return [spec.name, value];
    }),
  );
  const counters = { iteration: 1, flowUpdates: 1, ebmUpdates: 1, initialised: true };
  return CoopFlow.fromCheckpoint({ config: LIVELY, counters, values }, THREADS);
}

describe("search", () => {
  let model: CoopFlow;
  beforeAll(() => {
    model = lively();
  });
  afterAll(() => model.close());

  it("reconstructs images, the better the longer", async () => {
    const images = readAll(tinyImages(6));
    const steps: SearchStep[] = [];
    const short = await model.reconstruct(images, { iterations: 2 });
    const long = await model.reconstruct(images, { iterations: 60, onStep: (step) => steps.push(step) });
    assertEquals([long.count, long.images.length, long.starts.length], [6, images.length, images.length]);
    // Six images in batches of four.
    assertEquals([steps.length, steps[0]!.done, steps.at(-1)!.done, steps[0]!.total], [120, 1, 120, 120]);
    long.errors.forEach((error, i) => {
      assertLess(error, short.errors[i]!);
      let sum = 0;
      for (let k = 16 * i; k < 16 * (i + 1); k++) sum += (images[k]! - long.images[k]!) ** 2;
      assertAlmostEquals(error, sum / 16, 1e-5);
      assertAlmostEquals(long.psnr[i]!, 10 * Math.log10(4 / error), 1e-3);
    });
    assert(long.starts.every((x) => x >= -1 && x <= 1));
    assertNotEquals(long.starts, long.images);
    const again = await model.reconstruct(images, { iterations: 60 });
    assertEquals(again.images, long.images);
    assertNotEquals((await model.reconstruct(images, { iterations: 60, seed: 9 })).starts, long.starts);
  });

  it("completes what is hidden and leaves the rest", async () => {
    const images = readAll(tinyImages(2));
    const hidden = Array.from({ length: 16 }, (_, i) => i % 4 < 2);
    const found = await model.inpaint(images, hidden, { completions: 3, iterations: 30 });
    assertEquals(found.count, 6);
    found.images.forEach((value, i) => {
      const original = images[16 * Math.floor(i / 48) + i % 16]!;
      if (!hidden[i % 16]) assertEquals(value, original);
    });
    const part = (i: number) => found.images.subarray(16 * i, 16 * (i + 1));
    assertNotEquals(part(0), part(1));
    for (const mask of [new Array(16).fill(true), new Array(16).fill(0)]) {
      await assertRejects(
        () => model.inpaint(images, mask),
        DataError,
        "mask: expected some pixels hidden and some not",
      );
    }
    await assertRejects(() => model.inpaint(images, [1]), DataError, "4×4 = 16 pixels, found 1");
    await assertRejects(() => model.inpaint(images, hidden, { completions: 0 }), UsageError, "completions");
  });

  it("walks between images, and between random latents, on both paths", async () => {
    const images = readAll(tinyImages(4));
    for (const between of [images, 2] as const) {
      const linear = await model.interpolate(between, { points: 5, iterations: 3 });
      assertEquals([linear.pairs, linear.points, linear.images.length], [2, 5, 2 * 5 * 16]);
      assert(linear.images.every(Number.isFinite));
      const spherical = await model.interpolate(between, { points: 5, iterations: 3, path: "spherical" });
      const at = (all: typeof linear, pair: number, k: number) =>
        all.images.subarray((pair * 5 + k) * 16, (pair * 5 + k + 1) * 16);
      // Both paths have the same ends, and another middle.
      for (const end of [0, 4]) {
        at(linear, 1, end).forEach((v, i) => assertAlmostEquals(v, at(spherical, 1, end)[i]!, 1e-4));
      }
      assertNotEquals(at(linear, 1, 2), at(spherical, 1, 2));
    }
    await assertRejects(() => model.interpolate(images.subarray(0, 16)), DataError, "an even number of images");
    await assertRejects(() => model.interpolate(0), UsageError, "pairs");
    await assertRejects(() => model.interpolate(1, { points: 1 }), UsageError, "points");
  });

  it("refuses what makes no sense, and stops at a signal", async () => {
    const images = readAll(tinyImages(1));
    await assertRejects(() => model.reconstruct(images, { iterations: 0 }), UsageError, "iterations");
    await assertRejects(() => model.reconstruct(images, { rate: -1 }), UsageError, "rate: expected a number above 0");
    await assertRejects(() => model.reconstruct(new Float32Array(3)), DataError, "16 values");
    const controller = new AbortController();
    const stopped = model.reconstruct(images, {
      iterations: 1000,
      signal: controller.signal,
      onStep: ({ done }) => done === 3 && controller.abort(),
    });
    await assertRejects(() => stopped, CancelledError);
  });
});
