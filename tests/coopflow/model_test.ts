import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { readCheckpoint } from "../../src/coopflow/checkpoint.ts";
import type { FitEvent } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import { CancelledError, ConfigError, CoopFlowError, DataError, NativeError, UsageError } from "../../src/errors.ts";
import { fromLevels, readAll } from "../../src/data/dataset.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

async function learn(model: CoopFlow, iterations: number): Promise<FitEvent[]> {
  return await Array.fromAsync(model.fit(tinyImages(), { iterations }));
}

describe("CoopFlow", () => {
  it("learns, telling of each iteration", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    const events = await learn(model, 3);
    assertEquals(events.map((event) => event.type), ["set-up", "iteration", "iteration", "iteration", "finished"]);
    const [setUp, first] = events;
    assert(setUp?.type === "set-up" && first?.type === "iteration");
    assertEquals(setUp.initialisedFrom, 8);
    assertEquals(setUp.parameters, model.parameters);
    for (const value of Object.values(first.metrics)) assert(typeof value === "boolean" || Number.isFinite(value));
    assertEquals(model.counters, { iteration: 3, flowUpdates: 3, ebmUpdates: 3, initialised: true });
  });

  it("measures iterations after the first when asked, and goes on", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    const fit = (iterations: number, profile: number) =>
      Array.fromAsync(model.fit(tinyImages(), { iterations, profile }));
    const events = await fit(5, 2);
    assertEquals(events.map((event) => event.type), [
      "set-up",
      "iteration",
      "iteration",
      "iteration",
      "profile",
      "iteration",
      "iteration",
      "finished",
    ]);
    const measured = events.find((event) => event.type === "profile");
    assert(measured?.type === "profile");
    assertEquals(measured.iterations, 2);
    const { entries, executions } = measured.profile;
    assertEquals(executions.length, entries.reduce((sum, { calls }) => sum + calls, 0));
    assert(entries.every(({ calls, bytes }) => calls >= 2 && bytes > 0));
    // A chain of 2 steps: its instructions ran 4 times.
    assert(entries.filter(({ name }) => name.startsWith("langevin.")).some(({ calls }) => calls === 4));

    // As many as there are, the first too when it is the only one.
    const last = (await fit(6, 9)).find((event) => event.type === "profile");
    assert(last?.type === "profile" && last.iterations === 1);
    assertEquals((await fit(7, 0)).some((event) => event.type === "profile"), false);
  });

  it("does in two calls what it does in one, and the same in a second process's place", async () => {
    await withFolder(async (folder) => {
      await using whole = await CoopFlow.create(TINY, THREADS);
      await learn(whole, 4);
      await whole.save(`${folder}/whole`);
      await using parts = await CoopFlow.create({ ...TINY, training: { ...TINY.training, iterations: 4 } }, THREADS);
      for await (const event of parts.fit(tinyImages())) if (event.type === "iteration" && event.iteration === 2) break;
      await parts.save(`${folder}/half`);
      await using loaded = await CoopFlow.load(`${folder}/half`, THREADS);
      await learn(loaded, 4);
      await loaded.save(`${folder}/parts`);
      assertEquals(await Deno.readFile(`${folder}/whole`), await Deno.readFile(`${folder}/parts`));
    });
  });

  it("draws image i from the seed and i alone", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    await learn(model, 1);
    const whole = await model.sample(11, { seed: 5 });
    const parts = [await model.sample(3, { seed: 5 }), await model.sample(8, { seed: 5, first: 3 })];
    for (const kind of ["images", "proposals"] as const) {
      assertEquals(parts.flatMap((part) => [...part[kind]]), [...whole[kind]]);
      assert(whole[kind].every((value) => value >= -1 && value <= 1));
    }
    assertNotEquals((await model.sample(11, { seed: 6 })).images, whole.images);
    const live = await model.sample(11, { seed: 5, liveParameters: true });
    assertEquals(live.images.length, whole.images.length);
  });

  it("hands samples out batch by batch, the same images, and their chains", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    await assertRejects(
      () => Array.fromAsync(model.samples(3)),
      UsageError,
      "expected a model that has begun to learn",
    );
    await learn(model, 1);
    const whole = await model.sample(11, { seed: 5 });
    const batches = await Array.fromAsync(model.samples(9, { seed: 5, first: 2 }));
    assertEquals(batches.map(({ first, count }) => [first, count]), [[2, 2], [4, 4], [8, 3]]);
    for (const kind of ["images", "proposals"] as const) {
      assertEquals(batches.flatMap((batch) => [...batch[kind]]), [...whole[kind].subarray(2 * 16)]);
    }
    for await (const { first } of model.samples(100, { seed: 5 })) if (first > 0) break;
    assertEquals(await model.sample(11, { seed: 5 }), whole); // the batch that was begun is out of the way

    const { states, trajectories, ...chains } = await model.trajectories(6, { seed: 5, first: 3 });
    assertEquals([states, chains.images], [3, whole.images.subarray(3 * 16, 9 * 16)]);
    for (let i = 0; i < 6; i++) {
      const state = (t: number): Float32Array => trajectories.subarray((3 * i + t) * 16, (3 * i + t + 1) * 16);
      assertEquals(state(0), chains.proposals.subarray(i * 16, (i + 1) * 16));
      assertEquals(state(2), chains.images.subarray(i * 16, (i + 1) * 16));
      assertNotEquals(state(1), state(2));
    }
    await assertRejects(() => model.trajectories(10_000_000), UsageError, "count: expected at most");
    const controller = new AbortController();
    await assertRejects(async () => {
      for await (const { first } of model.samples(100, { signal: controller.signal })) {
        if (first === 8) controller.abort();
      }
    }, CancelledError);
  });

  it("scores images, a part of a batch like a whole one", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    await learn(model, 1);
    const images = readAll(tinyImages(6));
    const { bitsPerDim, energies } = await model.density(images);
    assertEquals([bitsPerDim.length, energies.length], [6, 6]);
    assert(bitsPerDim.every(Number.isFinite));
    const first = await model.density(images.subarray(0, 16));
    assertEquals(first.bitsPerDim[0], bitsPerDim[0]);
    assertEquals(first.energies[0], energies[0]);
    // Later images alone, given the noise that they had.
    const later = await model.density(images.subarray(4 * 16), { first: 4 });
    assertEquals(later.bitsPerDim, bitsPerDim.subarray(4));

    const one = await model.density(images, { draws: 1 });
    assertEquals([one.bitsPerDim, one.oneDrawBitsPerDim], [bitsPerDim, bitsPerDim]);
    const many = await model.density(images, { draws: 20 });
    assertEquals(many.energies, energies);
    many.bitsPerDim.forEach((bits, i) => assert(bits < many.oneDrawBitsPerDim[i]!));
    await assertRejects(() => model.density(images, { draws: 0 }), UsageError, "draws: expected a whole number");
  });

  it("stops at a signal, as the last complete iteration left it", async () => {
    await using model = await CoopFlow.create(TINY, THREADS);
    const controller = new AbortController();
    const error = await assertRejects(async () => {
      for await (const event of model.fit(tinyImages(), { iterations: 50, signal: controller.signal })) {
        if (event.type === "iteration" && event.iteration === 2) controller.abort();
      }
    }, CancelledError);
    assertEquals(error.name, "CancelledError");
    assertEquals(model.counters.iteration, 2);
    await learn(model, 3);
    assertEquals(model.counters.iteration, 3);
  });

  it("stops at a value that is not finite, naming it, with its state as it was", async () => {
    const wild = { ...TINY, training: { ...TINY.training, flow: { lr: 1e30 }, ebm: { lr: 1e30 } } };
    await using model = await CoopFlow.create(wild, THREADS);
    await assertRejects(() => learn(model, 50), CoopFlowError, "expected finite values, found");
    const { iteration } = model.counters;
    await assertRejects(() => learn(model, 50), CoopFlowError, `iteration ${iteration + 1}: `);
  });

  it("learns with every energy network, spectral norm's vectors moving along and saved", async () => {
    for (const kind of ["plain", "deep", "spectral"] as const) {
      const energy = { kind, channels: 4, blocks: 1, redraw: kind === "spectral" };
      await using model = await CoopFlow.create({ ...TINY, energy }, THREADS);
      // Behind the warm-up, so that weights that begin at zero have moved.
      await learn(model, 5);
      const { images } = await model.sample(2);
      assert(images.every(Number.isFinite), kind);
      if (kind !== "spectral") continue;
      await withFolder(async (folder) => {
        await model.save(`${folder}/a`);
        const { config, values } = await readCheckpoint(`${folder}/a`);
        for (const { name, averageOf, init } of modelStates(config).all) {
          if (!/^(ema\.)?ebm\..*weight_[uv]$/.test(name)) continue;
          const value = values.get(name);
          assertNotEquals(value, init(config.seed), name);
          assert(Math.abs(Math.hypot(...value ?? []) - 1) < 1e-5, name);
          if (averageOf !== undefined) assertEquals(value, values.get(averageOf), name);
        }
        await using again = await CoopFlow.load(`${folder}/a`, THREADS);
        assertEquals((await again.sample(2)).images, images);
      });
    }
  });

  it("learns with AdamW, clipping by value and a falling rate, each making a difference", async () => {
    const weights = async (ebm: object): Promise<Float32Array | undefined> => {
      await using model = await CoopFlow.create({
        ...TINY,
        training: { ...TINY.training, ebm: { lr: 1e-2, warmUp: 0, ...ebm } },
      }, THREADS);
      await learn(model, 3);
      let found: Float32Array | undefined;
      await withFolder(async (folder) => {
        await model.save(`${folder}/a`);
        found = (await readCheckpoint(`${folder}/a`)).values.get("ebm.f.0.weight");
      });
      return found;
    };
    const plain = await weights({});
    const options = [{ decoupledDecay: 0.5 }, { clipValue: 1e-9 }, { schedule: "cosine" }, {
      schedule: "step",
      stepEvery: 1,
    }];
    for (const option of options) {
      const other = await weights(option);
      assert(other?.every(Number.isFinite));
      assertNotEquals(other, plain, JSON.stringify(option));
    }
  });

  it("skips updates whose norm is not below the threshold, and their schedules wait", async () => {
    const strict = { ...TINY, training: { ...TINY.training, flow: { threshold: 1e-9 } } };
    await using model = await CoopFlow.create(strict, THREADS);
    await learn(model, 3);
    assertEquals(model.counters, { iteration: 3, flowUpdates: 0, ebmUpdates: 3, initialised: true });
  });

  it("refuses what it can't use", async () => {
    await assertRejects(() => CoopFlow.create({ data: { height: 5 } }), ConfigError, "data.height");
    await assertRejects(() => CoopFlow.create(TINY, { threads: -1 }), UsageError, "threads");
    await using model = await CoopFlow.create(TINY, THREADS);
    await assertRejects(() => model.sample(1), UsageError, "fresh");
    await assertRejects(
      () => Array.fromAsync(model.fit(tinyImages(), { profile: -1 })),
      UsageError,
      "profile: expected a whole number of at least 0, found -1",
    );
    const large = fromLevels({ name: "large", height: 8, width: 4, channels: 1, levels: 4, data: new Uint8Array(64) });
    await assertRejects(
      () => Array.fromAsync(model.fit(large)),
      DataError,
      "data.height: expected 4 as configured, found 8",
    );
    const deep = fromLevels({ name: "deep", height: 4, width: 4, channels: 1, levels: 9, data: new Uint8Array(64) });
    await assertRejects(() => Array.fromAsync(model.fit(deep)), DataError, "data.levels");
    await learn(model, 1);
    await assertRejects(() => model.sample(0), UsageError, "count");
    await assertRejects(() => model.density(new Float32Array(3)), DataError, "16 values");
    await assertRejects(() => model.density(new Float32Array(16).fill(2)), DataError, "[−1, 1]");
  });

  it("frees what it has when closed, once and for all", async () => {
    const model = await CoopFlow.create(TINY, THREADS);
    model.close();
    model.close();
    assertThrows(() => model.device, NativeError, "closed");
    await assertRejects(() => learn(model, 1), NativeError, "closed");
  });
});
