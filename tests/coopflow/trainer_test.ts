import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type CoopFlowConfig, parseConfig } from "../../src/coopflow/config.ts";
import type { TrainEvent } from "../../src/coopflow/events.ts";
import { listCheckpoints, RunDirectory } from "../../src/coopflow/run_directory.ts";
import { readRunState } from "../../src/coopflow/run_state.ts";
import { train } from "../../src/coopflow/trainer.ts";
import { CancelledError, CheckpointError, CoopFlowError, UsageError } from "../../src/errors.ts";
import { cutEvents, records } from "../../src/io/tensorboard.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

const config = parseConfig(TINY);
const data = { train: tinyImages(), heldout: tinyImages(10) };
const last = "checkpoints/iteration_6.safetensors";

/** Trains in a directory until `stop` says so. */
async function run(
  path: string,
  options: { config?: CoopFlowConfig; stop?: (event: TrainEvent) => boolean; signal?: AbortSignal } = {},
): Promise<TrainEvent[]> {
  const exists = await Deno.stat(`${path}/config.json`).then(() => true, () => false);
  const directory = exists ? (await RunDirectory.open(path)).run : await RunDirectory.create(path, config);
  await using held = directory;
  const events: TrainEvent[] = [];
  const { stop, signal } = options;
  const settings = { ...THREADS, reportImages: 12, ...(signal === undefined ? {} : { signal }) };
  for await (const event of train({ run: held, config: options.config ?? config, data, dataPath: null, ...settings })) {
    events.push(event);
    if (stop?.(event)) break;
  }
  return events;
}

const iterations = async (path: string): Promise<number[]> =>
  (await Deno.readTextFile(`${path}/metrics.jsonl`)).trim().split("\n").map((line) => JSON.parse(line).iteration);

describe("train", () => {
  it("writes a whole run directory", async () => {
    await withFolder(async (folder) => {
      const events = await run(folder);
      assertEquals(events.at(-1)?.type, "report");
      assertEquals(namesIn(folder), [
        "checkpoints",
        "config.json",
        "environment.json",
        "events.out.tfevents.0000000001.coopflow",
        "metrics.jsonl",
        "report.html",
        "report.json",
        "samples",
        "schema.json",
        "state.json",
      ]);
      const environment = JSON.parse(await Deno.readTextFile(`${folder}/environment.json`));
      assertMatch(environment.nativeSha256, /^[0-9a-f]{64}$/);
      assert(environment.cpu.length > 0 && environment.cores >= 1 && environment.memoryBytes > 0);
      assertEquals(namesIn(`${folder}/checkpoints`), ["iteration_4.safetensors", "iteration_6.safetensors"]);
      assertEquals(namesIn(`${folder}/samples`), ["iteration_3.png", "iteration_6.png"]);
      assertEquals(await iterations(folder), [1, 2, 3, 4, 5, 6]);
    });
  });

  it("ends with the same bits however often it was left and taken up again", async () => {
    await withFolder(async (folder) => {
      await run(`${folder}/whole`);
      const expected = await Deno.readFile(`${folder}/whole/${last}`);
      for (const at of [0, 1, 3, 5]) {
        const path = `${folder}/left-${at}`;
        await run(path, {
          stop: (event) =>
            at === 0 ? event.type === "checkpoint" : event.type === "iteration" && event.iteration === at,
        });
        await run(path);
        assertEquals(await Deno.readFile(`${path}/${last}`), expected);
        assertEquals(await iterations(path), [1, 2, 3, 4, 5, 6]);
      }
    });
  });

  it("starts anew what was killed before its first checkpoint", async () => {
    await withFolder(async (folder) => {
      await run(folder, { stop: (event) => event.type === "set-up" });
      assertEquals(await listCheckpoints(folder), []);
      await run(folder);
      assert((await listCheckpoints(folder)).some(({ iteration }) => iteration === 6));
    });
  });

  it("does nothing when it is finished, and goes on when more is asked for", async () => {
    await withFolder(async (folder) => {
      await run(folder);
      assertEquals(await run(folder), [{ type: "finished", iteration: 6 }]);
      await run(folder, { config: { ...config, training: { ...config.training, iterations: 8 } } });
      assertEquals(await iterations(folder), [1, 2, 3, 4, 5, 6, 7, 8]);
    });
  });

  it("falls back on an older checkpoint when the newest is torn, keeping the torn one", async () => {
    await withFolder(async (folder) => {
      await run(`${folder}/whole`);
      const path = `${folder}/torn`;
      await run(path, { stop: (event) => event.type === "iteration" && event.iteration === 5 });
      const newest = `${path}/checkpoints/iteration_4.safetensors`;
      await Deno.truncate(newest, 1000);
      const events = await run(path);
      const [notice] = events;
      assert(notice?.type === "notice" && notice.message.includes("iteration_4"));
      assertEquals(await Deno.readFile(`${path}/${last}`), await Deno.readFile(`${folder}/whole/${last}`));
      assertEquals((await Deno.stat(`${newest}.damaged`)).size, 1000);
    });
  });

  it("refuses to start over when all checkpoints are damaged", async () => {
    await withFolder(async (folder) => {
      await run(folder);
      for (const { path } of await listCheckpoints(folder)) await Deno.truncate(path, 100);
      await assertRejects(() => run(folder), CheckpointError, "cut short");
      assertEquals(await iterations(folder), [1, 2, 3, 4, 5, 6]);
    });
  });

  it("logs each iteration for TensorBoard once, in one file, however often it was left", async () => {
    await withFolder(async (folder) => {
      await run(folder, { stop: (event) => event.type === "iteration" && event.iteration === 5 });
      await run(folder);
      const files = namesIn(folder).filter((name) => name.startsWith("events"));
      assertEquals(files, ["events.out.tfevents.0000000002.coopflow"]);
      const bytes = await Deno.readFile(`${folder}/${files[0]}`);
      // File version, hyperparameters, six iterations, two pictures; the iterations up to the checkpoint at 4 are the first run's.
      const found = [...records(bytes)].map(({ data }) => new TextDecoder("latin1").decode(data));
      assertEquals(found.length, 10);
      assertEquals(found.filter((text) => text.includes("ebmLoss")).length, 6);
      assertEquals(found.filter((text) => text.includes("pixels/revised")).length, 2);
      assertEquals(cutEvents(bytes, 6), bytes);
      assertEquals([...records(cutEvents(bytes, 4))].length, 7);
      await run(folder);
      assertEquals(await Deno.readFile(`${folder}/${files[0]}`), bytes);
    });
  });

  it("keeps as many checkpoints as it is told", async () => {
    await withFolder(async (folder) => {
      await run(folder, { config: parseConfig({ ...TINY, training: { ...TINY.training, keepCheckpoints: 3 } }) });
      assertEquals((await listCheckpoints(folder)).map(({ iteration }) => iteration), [2, 4, 6]);
    });
  });

  it("refuses a configuration of another architecture", async () => {
    await withFolder(async (folder) => {
      await run(folder, { stop: (event) => event.type === "checkpoint" });
      const other = parseConfig({ ...TINY, energy: { channels: 8 } });
      await assertRejects(() => run(folder, { config: other }), CoopFlowError, 'expected {"kind":"res","channels":4,');
    });
  });

  it("saves the last complete iteration when it is cancelled", async () => {
    await withFolder(async (folder) => {
      const controller = new AbortController();
      const stop = (event: TrainEvent): boolean => {
        if (event.type === "iteration" && event.iteration === 3) controller.abort();
        return false;
      };
      await assertRejects(() => run(folder, { signal: controller.signal, stop }), CancelledError);
      assertEquals((await listCheckpoints(folder)).map(({ iteration }) => iteration), [2, 3]);
      assertEquals((await Deno.readTextFile(`${folder}/config.json`)).includes('"iterations": 6'), true);
    });
  });

  it("leaves the last good checkpoint when a value is not finite", async () => {
    await withFolder(async (folder) => {
      const wild = parseConfig({
        ...TINY,
        training: { ...TINY.training, iterations: 60, flow: { lr: 1e30, warmUp: 4 } },
      });
      await assertRejects(() => run(folder, { config: wild }), CoopFlowError, "expected finite values");
      const before = await listCheckpoints(folder);
      assert(before.length > 0);
      await assertRejects(() => run(folder, { config: wild }), CoopFlowError, "expected finite values");
      assertEquals(await listCheckpoints(folder), before);
    });
  });
});

describe("a run's state", () => {
  const state = async (path: string): Promise<unknown[]> => {
    const found = await readRunState(path);
    return [found?.state, found?.iteration, found?.iterations, found?.reason];
  };

  it("is finished, or interrupted when whoever listened left or cancelled", async () => {
    await withFolder(async (folder) => {
      await run(folder, { stop: (event) => event.type === "iteration" && event.iteration === 3 });
      assertEquals(await state(folder), ["interrupted", 3, 6, undefined]);
      const controller = new AbortController();
      controller.abort();
      await assertRejects(() => run(folder, { signal: controller.signal }), CancelledError);
      assertEquals(await state(folder), ["interrupted", 2, 6, undefined]);
      const before = await readRunState(folder);
      await run(folder);
      assertEquals(await state(folder), ["finished", 6, 6, undefined]);
      const after = await readRunState(folder);
      assertEquals(after?.started, before?.started);
      assert((after?.seconds ?? 0) > (before?.seconds ?? 0));
    });
  });

  it("is failed, with the reason, which the page shows", async () => {
    await withFolder(async (folder) => {
      const wild = parseConfig({
        ...TINY,
        training: { ...TINY.training, iterations: 60, flow: { lr: 1e30, warmUp: 4 } },
      });
      const error = await assertRejects(
        () => run(folder, { config: wild }),
        CoopFlowError,
        "the largest parameter is in flow.",
      );
      const [condition, , , reason] = await state(folder);
      assertEquals([condition, reason], ["failed", error.message]);
      assert((await Deno.readTextFile(`${folder}/report.html`)).includes("expected finite values"));
    });
  });

  it("is running while it does", async () => {
    await withFolder(async (folder) => {
      let found: unknown[] = [];
      const directory = await RunDirectory.create(folder, config);
      await using held = directory;
      for await (const event of train({ run: held, config, data, dataPath: null, ...THREADS, reportImages: 12 })) {
        if (event.type === "checkpoint" && event.iteration === 4) found = await state(folder);
      }
      assertEquals(found, ["running", 4, 6, undefined]);
    });
  });
});

describe("RunDirectory", () => {
  it("is created in new or empty folders only", async () => {
    await withFolder(async (folder) => {
      await using _ = await RunDirectory.create(`${folder}/a/b`, config);
      await assertRejects(() => RunDirectory.create(`${folder}/a/b`, config), UsageError, "--resume");
      await assertRejects(() => RunDirectory.create(`${folder}/a`, config), UsageError, "found 1 entries");
    });
  });

  it("is worked on by one process at a time, and opened only where there is a run", async () => {
    await withFolder(async (folder) => {
      await using _ = await RunDirectory.create(`${folder}/a`, config);
      await assertRejects(() => RunDirectory.open(`${folder}/a`), CoopFlowError, "in use by process");
      await assertRejects(() => RunDirectory.open(`${folder}/b`), CoopFlowError, "found none");
    });
  });
});
