import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readCheckpoint } from "../../src/coopflow/checkpoint.ts";
import type { CoopFlowConfigInput } from "../../src/coopflow/config.ts";
import type { IterationMetrics } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { CancelledError, CoopFlowError } from "../../src/errors.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

type Training = NonNullable<CoopFlowConfigInput["training"]>;

/** A tiny configuration with these settings of its training. */
const tiny = (training: Training): CoopFlowConfigInput => ({
  ...TINY,
  data: { ...TINY.data, flip: true },
  langevin: { ...TINY.langevin, metropolis: true },
  training: { ...TINY.training, ...training },
});

/** What some iterations leave. */
async function learnt(config: CoopFlowConfigInput, iterations: number) {
  return await withFolder(async (folder) => {
    await using model = await CoopFlow.create(config, THREADS);
    const metrics: IterationMetrics[] = [];
    for await (const event of model.fit(tinyImages(), { iterations })) {
      if (event.type === "iteration") metrics.push(event.metrics);
    }
    await model.save(`${folder}/x.safetensors`);
    return { metrics, values: (await readCheckpoint(`${folder}/x.safetensors`)).values };
  });
}

describe("training.accumulate", () => {
  for (
    const [name, training] of [
      ["phase coop, dropout, flips and adjusted noise included", {}],
      ["the EBM alone at first", { flowFrom: 1 }],
      ["phase flow", { phase: "flow" }],
      ["phase ebm, with a penalty on energies and clipped", {
        phase: "ebm",
        ebm: { ...TINY.training.ebm, magnitude: 0.1, clip: 0.5 },
      }],
    ] satisfies [string, Training][]
  ) {
    it(`makes the steps of a batch n times as large: ${name}`, async () => {
      const whole = await learnt(tiny({ ...training, batch: 6 }), 3);
      const parts = await learnt(tiny({ ...training, batch: 2, accumulate: 3 }), 3);
      assertEquals([...parts.values.keys()], [...whole.values.keys()]);
      for (const [tensor, value] of whole.values) {
        if (tensor.startsWith("adam.")) continue;
        const found = parts.values.get(tensor)!;
        const most = value.reduce((largest, v) => Math.max(largest, Math.abs(v)), 1);
        value.forEach((v, i) => assert(Math.abs(v - found[i]!) < 2e-4 * most, `${tensor}[${i}]: ${v} and ${found[i]}`));
      }
      whole.metrics.forEach((metrics, i) => {
        for (const [key, value] of Object.entries(metrics)) {
          const found = Number(parts.metrics[i]![key as keyof IterationMetrics]);
          const same = Number.isNaN(value)
            ? Number.isNaN(found)
            : Math.abs(found - Number(value)) < 1e-3 * (1 + Math.abs(Number(value)));
          assert(same, `${i} ${key}: ${value} and ${found}`);
        }
      });
    });
  }

  it("goes on with the same bits after a checkpoint, and after a cancelled iteration", async () => {
    const config = tiny({ batch: 2, accumulate: 3 });
    const whole = await learnt(config, 4);
    await withFolder(async (folder) => {
      const path = `${folder}/x.safetensors`;
      await using first = await CoopFlow.create(config, THREADS);
      for await (const _ of first.fit(tinyImages(), { iterations: 2 }));
      await first.save(path);
      await using second = await CoopFlow.load(path, THREADS);
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 20);
      await assertRejects(async () => {
        for await (const event of second.fit(tinyImages(), { iterations: 1_000_000, signal: stop.signal })) {
          if (event.type === "iteration") stop.abort();
        }
      }, CancelledError);
      assert(second.counters.iteration <= 3);
      for await (const _ of second.fit(tinyImages(), { iterations: 4 }));
      await second.save(path);
      const { values } = await readCheckpoint(path);
      for (const [tensor, value] of whole.values) assertEquals(values.get(tensor), value, tensor);
    });
  });

  it("changes nothing when a micro-batch is not finite, and says where that began", async () => {
    await using model = await CoopFlow.create(tiny({ batch: 2, accumulate: 3 }), THREADS);
    const images = tinyImages();
    for await (const _ of model.fit(images, { iterations: 1 }));
    const broken = {
      ...images,
      read: (i: number, into: Float32Array, at: number) => {
        images.read(i, into, at);
        if (i % 2 === 0) into[at] = NaN;
      },
    };
    const error = await assertRejects(async () => {
      for await (const _ of model.fit(broken, { iterations: 2 }));
    }, CoopFlowError);
    assertStringIncludes(error.message, "iteration 2: expected finite values, found that");
    assertStringIncludes(error.message, "nothing was changed");
    assertEquals(model.counters.iteration, 1);
  });
});
