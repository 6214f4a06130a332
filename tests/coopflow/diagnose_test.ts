import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { CoopFlowConfigInput } from "../../src/coopflow/config.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { readAll } from "../../src/data/dataset.ts";
import { DataError, UsageError } from "../../src/errors.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

async function learnt(config: CoopFlowConfigInput): Promise<CoopFlow> {
  const model = await CoopFlow.create(config, THREADS);
  await Array.fromAsync(model.fit(tinyImages(), { iterations: 2 }));
  return model;
}

/** Without noise, so that a chain of another length begins as this one. */
const QUIET = { ...TINY, langevin: { ...TINY.langevin, noise: false } };

describe("chain", () => {
  it("watches the chains of sample, whatever their length", async () => {
    await using model = await learnt(QUIET);
    const { images, proposals } = await model.sample(6, { seed: 4 });
    const short = await model.chain(6, { seed: 4 });
    assertEquals([short.count, short.steps, short.energy.length], [6, 2, 3]);
    const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0) / values.length;
    const energies = async (of: Float32Array): Promise<number> => mean((await model.density(of)).energies);
    assertAlmostEquals(short.energy[0]!, await energies(proposals), 1e-5);
    assertAlmostEquals(short.energy[2]!, await energies(images), 1e-5);
    assertEquals(short.distance[0], 0);
    const distances = Array.from({ length: 6 }, (_, n) => {
      const range = Array.from({ length: 16 }, (_, i) => n * 16 + i);
      return Math.sqrt(mean(range.map((i) => (images[i]! - proposals[i]!) ** 2)));
    });
    assertAlmostEquals(short.distance[2]!, mean(distances), 1e-6);

    const told: number[] = [];
    const long = await model.chain(6, { seed: 4, steps: 120, shown: 5, onStep: (done) => told.push(done) });
    assertEquals(long.energy.subarray(0, 3), short.energy);
    assertEquals(told, [50, 100, 150, 200, 250, 300]);
    assertEquals(long.states.map(({ step, images }) => [step, images.length]), [[0, 80], [50, 80], [100, 80]]);
    assertEquals(long.states[0]!.images, proposals.subarray(0, 80));
    // What follows a part goes on where it ended.
    for (let t = 1; t <= 120; t++) {
      assert(Math.abs(long.energy[t]! - long.energy[t - 1]!) < 1 && long.gradientNorm[t]! > 0);
    }
    await assertRejects(() => model.chain(6, { steps: 0 }), UsageError, "steps: expected a whole number from 1");
  });

  it("tells of clamps", async () => {
    const wide = { ...QUIET, langevin: { ...QUIET.langevin, stepSize: 30, sampleStepSize: 30 } };
    await using model = await learnt(wide);
    const { clampedMoves, clampedPixels } = await model.chain(4, { steps: 60 });
    assert(clampedMoves[0]! > 0.5 && clampedMoves[0]! <= 1);
    assert(clampedPixels[60]! > 0.5 && clampedPixels[60]! <= 1);
    await using gentle = await learnt({
      ...QUIET,
      langevin: { ...QUIET.langevin, stepSize: 1e-3, sampleStepSize: 1e-3 },
    });
    assertEquals((await gentle.chain(4)).clampedMoves, new Float64Array(3));
  });
});

describe("momentMatching", () => {
  it("finds equal sets equal, and others different", async () => {
    await using model = await learnt(TINY);
    const images = readAll(tinyImages(24));
    const same = await model.momentMatching(images, images);
    assertEquals(same.map(({ layer }) => layer.startsWith("f.")).every(Boolean), true);
    for (const { data, synthesised, difference, chance, cosine } of same) {
      assertEquals([data, difference], [synthesised, 0]);
      assert(data > 0 && chance > 0);
      assertAlmostEquals(cosine, 1, 1e-6);
    }
    // A constant added to f has gradient 1 whatever the images are; a layer of weights has not.
    const dark = await model.momentMatching(images, new Float32Array(7 * 16).fill(-1));
    assert(dark[0]!.difference > 0.1 * dark[0]!.data && dark[0]!.cosine < 0.999);
    // Means, not sums.
    const twice = new Float32Array(2 * images.length);
    for (let i = 0; i < 24; i++) {
      // Neighbours fall into different halves: each twice keeps the halves' means.
      for (const k of [0, 1]) twice.set(images.subarray(i * 16, (i + 1) * 16), (2 * i + k) * 16);
    }
    const again = await model.momentMatching(twice, images);
    again.forEach(({ data, difference }, i) => {
      assertAlmostEquals(data, same[i]!.data, 1e-4 * data);
      assert(difference < 1e-4 * data);
    });
    await assertRejects(
      () => model.momentMatching(images, images.subarray(0, 16)),
      DataError,
      "synthesised: expected at least 2 images, found 1",
    );
  });
});
