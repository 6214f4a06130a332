import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseConfig } from "../../src/coopflow/config.ts";
import { RunDirectory } from "../../src/coopflow/run_directory.ts";
import { comparisonPage, runPage, writeRunPage } from "../../src/coopflow/run_page.ts";
import { listRuns, readRun } from "../../src/coopflow/runs.ts";
import { CoopFlowError } from "../../src/errors.ts";
import { encodePng } from "../../src/io/png.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { TINY } from "./support.ts";

const STATE = {
  iteration: 40,
  iterations: 60,
  seconds: 100,
  started: "2026-01-31T12:34:56.789Z",
  updated: "2026-01-31T12:40:00.000Z",
};

interface Given {
  readonly seed?: number;
  readonly state?: Record<string, unknown>;
  readonly pictures?: number;
}

/** A run directory with what training leaves in it. */
async function makeRun(
  path: string,
  { seed = 3, state = { state: "finished" }, pictures = 2 }: Given = {},
): Promise<void> {
  const run = await RunDirectory.create(path, parseConfig({ ...TINY, seed }));
  const line = (i: number): Record<string, unknown> => ({
    iteration: i,
    bitsPerDim: 6 / i,
    ebmLoss: Math.sin(i),
    change: 0.2,
    seconds: 2,
    chainLength: i,
  });
  const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify(line(i + 1)));
  const warning = { iteration: 40, warning: "change", message: "<b>little</b> change", advice: "raise it" };
  await Deno.writeTextFile(run.metricsPath, [...lines, JSON.stringify(warning), ""].join("\n"));
  await run.writeJson("state.json", { ...STATE, ...state });
  await run.writeJson("environment.json", { cpu: "<script>", threads: 2 });
  const png = await encodePng({ width: 2, height: 2, channels: 1, data: Uint8Array.of(1, 2, 3, 4) });
  for (let i = 1; i <= pictures; i++) await Deno.writeFile(run.picturePath(i), png);
  await run.close();
}

describe("runPage", () => {
  it("shows figures, warnings, curves, samples, configuration and environment", async () => {
    await withFolder(async (folder) => {
      await makeRun(`${folder}/a`);
      const text = await runPage(`${folder}/a`);
      for (
        const part of [
          "<title>a</title>",
          "finished",
          "begun 2026-01-31 12:34 UTC",
          "Iteration 40: &lt;b&gt;little&lt;/b&gt; change. What to try: raise it.",
          "<b>Flow loss</b>",
          "<b>chainLength</b>", // a figure that no chart is meant for
          '<input type="range" min="0" max="1"',
          "<dt>langevin.stepSize</dt><dd>0.1</dd>",
          "<dt>cpu</dt><dd>&lt;script&gt;</dd>",
        ]
      ) assertStringIncludes(text, part);
      assert(!text.includes("<b>Gradient norms</b>"), "a chart of what the log does not have");
    });
  });

  it("is made of a run that has only begun, and is written beside it", async () => {
    await withFolder(async (folder) => {
      await makeRun(`${folder}/a`, { pictures: 0 });
      await Deno.remove(`${folder}/a/metrics.jsonl`);
      const path = await writeRunPage(`${folder}/a`);
      assertEquals(path, `${folder}/a/report.html`);
      const text = await Deno.readTextFile(path);
      assertStringIncludes(text, "No pictures yet");
      assert(!text.replaceAll("stopOnNaN", "").includes("NaN"));
    });
  });

  it("holds 40 pictures of a hundred, the first and the last among them", async () => {
    await withFolder(async (folder) => {
      await makeRun(`${folder}/a`, { pictures: 100 });
      const text = await runPage(`${folder}/a`);
      assertEquals(text.match(/<img /g)?.length, 40);
      assert(text.includes('data-label="iteration 1"') && text.includes('data-label="iteration 100"'));
    });
  });

  it("is refused where there is no run", async () => {
    await withFolder(async (folder) => {
      await assertRejects(() => writeRunPage(folder), CoopFlowError, "expected a run directory");
      assertEquals(namesIn(folder), []);
    });
  });
});

describe("comparisonPage", () => {
  it("overlays the curves and names what differs", async () => {
    await withFolder(async (folder) => {
      for (const seed of [1, 2]) await makeRun(`${folder}/${seed}/same`, { seed });
      const text = await comparisonPage([`${folder}/1/same`, `${folder}/2/same`]);
      assertStringIncludes(text, '<td>seed</td><td class="n">1</td><td class="n">2</td>');
      assert(!text.includes("<td>langevin"));
      const [flow = ""] = /<b>Flow loss<\/b>[^]*?<\/figure>/.exec(text) ?? [];
      assertEquals(flow.match(/class="line"/g)?.length, 2);
      assert(flow.includes(`${folder}/1/same`)); // paths, as the names are the same
    });
  });
});

describe("the best metric of a run", () => {
  it("is the best that was measured, of the metric measured last, with its iteration; else what the end was", async () => {
    await withFolder(async (folder) => {
      await makeRun(`${folder}/a`);
      const { path } = await readRun(`${folder}/a`);
      assertEquals((await readRun(path)).best, undefined);
      const frechet = { noise: 9, proposals: 0.7, revised: 0.4 };
      await Deno.writeTextFile(`${path}/report.json`, JSON.stringify({ count: 1500, heldout: 297, frechet }));
      assertEquals((await readRun(path)).best, { iteration: 40, metric: "frechet", value: 0.4 });
      const lines = [
        { iteration: 10, metric: "bitsPerDim", value: 0.1 },
        { iteration: 20, metric: "frechet", value: 0.6 },
        { iteration: 30, metric: "frechet", value: 0.5 },
        { iteration: 40, metric: "frechet", value: null },
        { iteration: 50, metric: "frechet", value: 0.5 },
      ];
      await Deno.writeTextFile(
        `${path}/measurements.jsonl`,
        lines.map((line) => JSON.stringify(line) + "\n").join("") + '{"iteration": 60, "metr',
      );
      assertEquals((await readRun(path)).best, { iteration: 30, metric: "frechet", value: 0.5 });
      const text = await runPage(path);
      assertStringIncludes(text, "best pixel Fréchet distance");
      assertStringIncludes(text, "iteration 30");
    });
  });
});

describe("listRuns", () => {
  it("finds runs in folders, with their states, and says what can't be read", async () => {
    await withFolder(async (folder) => {
      await makeRun(`${folder}/r-10`, { state: { state: "failed", reason: "no space left on device" } });
      await makeRun(`${folder}/r-2`, { state: { state: "running" } });
      await makeRun(`${folder}/deep/er/r`, { state: { state: "interrupted" } });
      await makeRun(`${folder}/z`);
      await Deno.writeTextFile(`${folder}/z/config.json`, "{");
      const held = (await RunDirectory.open(`${folder}/r-10`)).run;
      await held.writeJson("state.json", { ...STATE, state: "running" });
      const found = (await listRuns(folder)).map((run) =>
        "reason" in run ? [run.path, "unreadable", run.reason] : [run.path, run.state?.state, run.state?.reason]
      );
      await held.close();
      assertEquals(found.slice(0, 3), [
        [`${folder}/deep/er/r`, "interrupted", undefined],
        [`${folder}/r-2`, "interrupted", "its process ended without a word"],
        [`${folder}/r-10`, "running", undefined],
      ]);
      assertEquals(found[3]?.slice(0, 2), [`${folder}/z`, "unreadable"]);
      assertEquals((await listRuns(`${folder}/r-2`)).length, 1);
    });
  });
});
