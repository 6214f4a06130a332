import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Checkpoint, readCheckpoint, writeCheckpoint } from "../../src/coopflow/checkpoint.ts";
import { type CoopFlowConfigInput, parseConfig } from "../../src/coopflow/config.ts";
import type { IterationMetrics, TrainEvent } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { RunDirectory } from "../../src/coopflow/run_directory.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import { train } from "../../src/coopflow/trainer.ts";
import { warmStart } from "../../src/coopflow/warm_start.ts";
import { ConfigError, UsageError } from "../../src/errors.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

type Training = NonNullable<CoopFlowConfigInput["training"]>;

const data = { train: tinyImages(), heldout: tinyImages(10) };
const last = "checkpoints/iteration_6.safetensors";
const configOf = (training: Training) => parseConfig({ ...TINY, training: { ...TINY.training, ...training } });

/** Trains in a directory, on from where it is, until `stop` says so. */
async function run(
  path: string,
  training: Training,
  stop?: (event: TrainEvent) => boolean,
  begun?: Checkpoint,
): Promise<TrainEvent[]> {
  const config = configOf(training);
  const exists = await Deno.stat(`${path}/config.json`).then(() => true, () => false);
  await using held = exists
    ? (await RunDirectory.open(path)).run
    : await RunDirectory.create(path, config, async (run) => {
      if (begun === undefined) return;
      const valueOf = ({ name }: { name: string }): Float32Array => begun.values.get(name)!;
      await writeCheckpoint(run.checkpointPath(0), begun, modelStates(config).all, valueOf);
    });
  const events: TrainEvent[] = [];
  for await (const event of train({ run: held, config, data, dataPath: null, reportImages: 12, ...THREADS })) {
    events.push(event);
    if (stop?.(event)) break;
  }
  return events;
}

const metricsOf = (events: readonly TrainEvent[]): IterationMetrics[] =>
  events.flatMap((event) => event.type === "iteration" ? [event.metrics] : []);

/** States whose bits differ between two checkpoints, by their first part. */
function moved(a: Checkpoint, b: Checkpoint): string[] {
  const names = [...a.values].filter(([name, value]) => {
    const other = b.values.get(name)!;
    return value.some((v, i) => !Object.is(v, other[i]));
  }).map(([name]) => name.replace(/^(ema|adam\.[mv])\./, "").split(".")[0]!);
  return [...new Set(names)].sort();
}

const PHASES: Record<string, { training: Training; moves: string[] }> = {
  "the flow alone": { training: { phase: "flow" }, moves: ["flow"] },
  "the EBM alone, from noise": { training: { phase: "ebm" }, moves: ["ebm"] },
  "the EBM alone, chains that persist": { training: { phase: "ebm", chains: "persistent" }, moves: ["chains", "ebm"] },
  "the EBM first, then both by turns": { training: { flowFrom: 2, flowEvery: 2 }, moves: ["ebm", "flow"] },
};

describe("phases of training", () => {
  for (const [name, { training, moves }] of Object.entries(PHASES)) {
    it(`${name}: moves nothing else, and ends with the same bits when it is left and taken up again`, async () => {
      await withFolder(async (folder) => {
        const whole = `${folder}/whole`;
        const firsts: Checkpoint[] = [];
        await run(whole, training, (event) => event.type === "checkpoint");
        firsts.push(await readCheckpoint(`${whole}/checkpoints/iteration_0.safetensors`));
        await run(whole, training);
        const end = await readCheckpoint(`${whole}/${last}`);
        assertEquals(moved(firsts[0]!, end), moves);
        for (const at of [1, 4]) {
          const path = `${folder}/left-${at}`;
          await run(path, training, (event) => event.type === "iteration" && event.iteration === at);
          await run(path, training);
          assertEquals(await Deno.readFile(`${path}/${last}`), await Deno.readFile(`${whole}/${last}`));
        }
      });
    });
  }

  it("the flow alone learns the data, reporting nothing of the EBM; its samples are its proposals", async () => {
    await using model = await CoopFlow.create(configOf({ phase: "flow", iterations: 80 }), THREADS);
    const metrics: IterationMetrics[] = [];
    for await (const event of model.fit(data.train)) if (event.type === "iteration") metrics.push(event.metrics);
    const mean = (part: readonly IterationMetrics[]): number =>
      part.reduce((sum, { bitsPerDim }) => sum + bitsPerDim, 0) / part.length;
    assert(mean(metrics.slice(-20)) < mean(metrics.slice(0, 20)) - 0.02);
    assert(
      metrics.every(({ ebmLoss, ebmLr, ebmUpdated }) => Number.isNaN(ebmLoss) && Number.isNaN(ebmLr) && !ebmUpdated),
    );
    const { images, proposals } = await model.sample(5);
    assertEquals(images, proposals);
    await assertRejects(() => model.trajectories(2), UsageError, "phase flow, which has no chains");
  });

  it("the EBM alone samples from noise, which the chain changes", async () => {
    await using model = await CoopFlow.create(configOf({ phase: "ebm" }), THREADS);
    for await (const _ of model.fit(data.train)) { /* learns */ }
    const { images, proposals } = await model.sample(200);
    const mean = proposals.reduce((sum, v) => sum + v) / proposals.length;
    const square = proposals.reduce((sum, v) => sum + v * v, 0) / proposals.length;
    assert(Math.abs(mean) < 0.05 && Math.abs(square - 1 / 3) < 0.02, `moments ${mean}, ${square}`);
    assert(images.some((v, i) => v !== proposals[i]));
  });

  it("chains that persist end inside the range, elsewhere than they began", async () => {
    await withFolder(async (folder) => {
      await run(folder, { phase: "ebm", chains: "persistent" });
      const chains = (await readCheckpoint(`${folder}/${last}`)).values.get("chains")!;
      assertEquals(chains.length, 4 * 16);
      assert(chains.every((v) => Math.abs(v) <= 1));
    });
  });

  it("the flow learns only when it is its turn, the EBM always", async () => {
    await using model = await CoopFlow.create(configOf({ flowFrom: 2, flowEvery: 3, iterations: 9 }), THREADS);
    const learnt: boolean[] = [];
    for await (const event of model.fit(data.train)) {
      if (event.type === "iteration") learnt.push(event.metrics.flowUpdated);
    }
    assertEquals(learnt, [false, false, true, false, false, true, false, false, true]);
    assertEquals([model.counters.flowUpdates, model.counters.ebmUpdates], [3, 9]);
  });

  it("the EBM's threshold counts after its first iterations", async () => {
    const ebm = { ...TINY.training.ebm, threshold: 1e-9 };
    await using model = await CoopFlow.create(configOf({ ebm, thresholdFrom: 2 }), THREADS);
    for await (const _ of model.fit(data.train)) { /* learns */ }
    assertEquals(model.counters.ebmUpdates, 2);
  });

  it("recomputing changes no metric of the flow alone", async () => {
    const metrics = async (recompute: boolean): Promise<IterationMetrics[]> => {
      await using model = await CoopFlow.create(configOf({ phase: "flow", recompute }), THREADS);
      return metricsOf(await Array.fromAsync(model.fit(data.train)));
    };
    const [kept, again] = [await metrics(false), await metrics(true)];
    kept.forEach(({ flowNll }, i) => assert(Math.abs(again[i]!.flowNll / flowNll - 1) < 1e-5));
  });
});

describe("flow.coupling", () => {
  for (const coupling of ["affine", "additive"] as const) {
    it(`${coupling}: the flow learns the data with it`, async () => {
      const config = {
        ...configOf({ phase: "flow", iterations: 80, recompute: true }),
        flow: { ...TINY.flow, coupling },
      };
      await using model = await CoopFlow.create(config, THREADS);
      const bits: number[] = [];
      for await (const event of model.fit(data.train)) {
        if (event.type === "iteration") bits.push(event.metrics.bitsPerDim);
      }
      const mean = (part: readonly number[]): number => part.reduce((sum, v) => sum + v, 0) / part.length;
      assert(mean(bits.slice(-20)) < mean(bits.slice(0, 20)) - 0.02);
    });
  }
});

describe("warmStart", () => {
  it("takes the networks that were trained, averaged, and nothing else", async () => {
    await withFolder(async (folder) => {
      await run(`${folder}/flow`, { phase: "flow" });
      const source = await readCheckpoint(`${folder}/flow/${last}`);
      const begun = warmStart(configOf({ flowFrom: 2 }), source);
      assertEquals(begun.counters, { iteration: 0, flowUpdates: 0, ebmUpdates: 0, initialised: true });
      const fresh = modelStates(begun.config).all.filter(({ name }) => !/^(ema\.)?flow\./.test(name));
      for (const { name, init } of fresh) assertEquals(begun.values.get(name), init(TINY.seed), name);
      for (const [name, value] of source.values) {
        if (!name.startsWith("ema.flow.")) continue;
        assertEquals(begun.values.get(name), value);
        assertEquals(begun.values.get(name.slice(4)), value);
      }
      // A run goes on from it as from any checkpoint, whenever it is left.
      const training = { flowFrom: 2 };
      const events = await run(`${folder}/whole`, training, undefined, begun);
      const setUp = events.find((event) => event.type === "set-up");
      assertEquals(setUp?.initialisedFrom, 0);
      await run(`${folder}/left`, training, (event) => event.type === "set-up", begun);
      await run(`${folder}/left`, training);
      assertEquals(await Deno.readFile(`${folder}/left/${last}`), await Deno.readFile(`${folder}/whole/${last}`));
    });
  });

  it("names what does not fit", async () => {
    await withFolder(async (folder) => {
      await run(folder, { phase: "flow" });
      const source = await readCheckpoint(`${folder}/${last}`);
      const wider = parseConfig({ ...TINY, flow: { ...TINY.flow, channels: 12 } });
      assertThrows(() => warmStart(wider, source), ConfigError, "flow: expected the networks of the run to begin with");
    });
  });
});

describe("training.best", () => {
  // Without a learning rate every measurement is the same, so that the first stays the best; averages of equals differ by roundings.
  const still: Training = {
    averaging: { flow: "off", ebm: "off" },
    flow: { lr: 0 },
    ebm: { lr: 0 },
    best: { metric: "bitsPerDim", every: 2, patience: 1 },
    checkpointEvery: 3,
  };
  const lines = async (path: string): Promise<number[]> =>
    (await Deno.readTextFile(`${path}/measurements.jsonl`)).trim().split("\n").map((line) =>
      JSON.parse(line).iteration
    );

  it("keeps the first of equals, and stops when patience ends; resuming does not go beyond", async () => {
    await withFolder(async (folder) => {
      const events = await run(folder, still);
      const found = events.flatMap((event) => event.type === "measurement" ? [[event.iteration, event.isBest]] : []);
      assertEquals(found, [[2, true], [4, false]]);
      assertEquals((await readCheckpoint(`${folder}/checkpoints/best.safetensors`)).counters.iteration, 2);
      assert(events.some((event) => event.type === "notice" && event.message.includes("after iteration 4")));
      assert(events.some((event) => event.type === "report"));
      assertEquals(await run(folder, still), [{ type: "finished", iteration: 4 }]);
    });
  });

  it("ends the same when it is left anywhere", async () => {
    await withFolder(async (folder) => {
      const training: Training = { best: { metric: "frechet", every: 2, images: 8 }, checkpointEvery: 3 };
      await run(`${folder}/whole`, training);
      const stops: ((event: TrainEvent) => boolean)[] = [
        (event) => event.type === "iteration" && event.iteration === 4,
        (event) => event.type === "measurement" && event.iteration === 4,
        (event) => event.type === "checkpoint" && event.iteration === 6,
      ];
      for (const [k, stop] of stops.entries()) {
        await run(`${folder}/${k}`, training, stop);
        await run(`${folder}/${k}`, training);
        assertEquals(await lines(`${folder}/${k}`), [2, 4, 6]);
        for (const file of ["measurements.jsonl", "checkpoints/best.safetensors", last]) {
          assertEquals(await Deno.readFile(`${folder}/${k}/${file}`), await Deno.readFile(`${folder}/whole/${file}`));
        }
      }
    });
  });

  it("needs held-out images", async () => {
    await withFolder(async (folder) => {
      const config = configOf(still);
      await using directory = await RunDirectory.create(folder, config);
      const events = train({
        run: directory,
        config,
        data: { train: data.train, heldout: undefined },
        dataPath: null,
        ...THREADS,
      });
      await assertRejects(() => Array.fromAsync(events), ConfigError, "expected off for data without held-out images");
    });
  });
});
