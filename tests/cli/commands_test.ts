import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openDataset } from "../../src/data/open.ts";
import { readSafetensors } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { checkTrace } from "./profile/support.ts";
import { run, start, tinyFiles } from "./support.ts";

const types = (out: string): string[] => out.trim().split("\n").map((line) => JSON.parse(line).type);

describe("train and sample", () => {
  it("train, go on, draw images in every form, each the same image", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const first = await run(folder, ["train", ...tiny, "--iterations", "2", "--json"]);
      assertEquals(first.code, 0, first.err);
      assertEquals(types(first.out), [
        "notice",
        "notice",
        "set-up",
        "checkpoint",
        "iteration",
        "iteration",
        "checkpoint",
        "finished",
        "samples",
      ]);
      assertEquals(namesIn(`${folder}/runs`), ["tiny-1"]);

      const again = await run(folder, ["train", "--resume", "runs/tiny-1"]);
      assertEquals(again.code, 0, again.err);
      assertStringIncludes(again.out, "finished: 2 iterations, nothing to do");
      const more = await run(folder, ["train", "--resume", "runs/tiny-1", "--iterations", "3", "--quiet"]);
      assertEquals([more.code, more.out, more.err], [0, "", ""]);

      const draw = (...args: string[]) => run(folder, ["sample", "runs/tiny-1", "--threads", "1", ...args]);
      for (
        const args of [
          ["--count", "5", "--out", "all", "--grid"],
          ["--count", "5", "--out", "all.png"],
          ["--count", "5", "--out", "all.safetensors", "--seed", "3"],
          ["--count", "3", "--out", "some.safetensors", "--live-parameters"],
          ["--count", "3", "--out", "averaged.safetensors"],
        ]
      ) {
        const { code, err } = await draw(...args);
        assertEquals(code, 0, err);
      }
      assertEquals(namesIn(`${folder}/all`).length, 7); // grid.png and samples.json too
      const all = await readSafetensors(`${folder}/all.safetensors`);
      const averaged = await readSafetensors(`${folder}/averaged.safetensors`);
      assertEquals(all.tensors.get("images")?.shape, [5, 4, 4, 1]);
      assertEquals(all.tensors.get("images")?.bytes.subarray(0, 192), averaged.tensors.get("images")?.bytes);
      assertEquals((await openDataset(`${folder}/all.safetensors`)).train.count, 5);
    });
  });

  for (const [name, signals] of [["Ctrl-C twice in a row", ["SIGINT", "SIGINT"]], ["SIGTERM", ["SIGTERM"]]] as const) {
    it(`${name} saves the last complete iteration and ends with 130`, async () => {
      await withFolder(async (folder) => {
        const tiny = await tinyFiles(folder);
        const child = start(folder, ["train", ...tiny, "--iterations", "100000", "--out", "run", "--json"]);
        const errors = new Response(child.stderr).text();
        let out = "";
        let sent = false;
        for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
          out += chunk;
          if (sent || !out.includes('"type":"iteration","iteration":3,')) continue;
          sent = true;
          // A repeated signal may find the child gone already: then there is nothing left to ignore it.
          const repeats = signals.slice(1).map((signal, k) => setTimeout(() => child.kill(signal), 5 * (k + 1)));
          child.status.then(() => repeats.forEach(clearTimeout));
          child.kill(signals[0]);
        }
        assertEquals((await child.status).code, 130);
        assertStringIncludes(await errors, "coopflow: interrupted; go on with --resume run");
        const iteration = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n").length;
        assert(namesIn(`${folder}/run/checkpoints`).includes(`iteration_${iteration}.safetensors`));
        assertEquals(namesIn(`${folder}/run`).includes("lock"), false);
      });
    });
  }
});

describe("train --profile", () => {
  it("prints where the time of some iterations goes, writes the trace into the run, and goes on", async () => {
    await withFolder(async (folder) => {
      const args = ["train", ...await tinyFiles(folder), "--iterations", "5", "--profile", "--out", "run"];
      const { code, out, err } = await run(folder, args);
      assertEquals(code, 0, err);
      assertMatch(err, /^by layer +ms +share /m);
      assertMatch(err, /^langevin\.ebm\.f\.0 +[\d.]+ /m);
      assertStringIncludes(err, "3 runs together; peaks: matrix product ");
      assertStringIncludes(err, "ui.perfetto.dev): run/trace.json");
      checkTrace(JSON.parse(await Deno.readTextFile(`${folder}/run/trace.json`)).traceEvents);
      assertStringIncludes(out, "finished: 5 iterations");

      const more = ["other", "--json", "--profile", "there.json", "--set", "compute.winograd=false"];
      const json = await run(folder, [...args.slice(0, -1), ...more]);
      assertEquals(json.code, 0, json.err);
      const written = await Promise.all(
        ["run", "other"].map((name) => Deno.readTextFile(`${folder}/${name}/config.json`)),
      );
      assertEquals(written.map((text) => JSON.parse(text).compute.winograd), [true, false]);
      assertEquals(types(json.out).includes("profile"), false);
      assert(namesIn(folder).includes("there.json"));
    });
  });

  it("says so when there is nothing left to measure", async () => {
    await withFolder(async (folder) => {
      const args = [...await tinyFiles(folder), "--iterations", "1", "--out", "run"];
      assertEquals((await run(folder, ["train", ...args])).code, 0);
      const { code, out, err } = await run(folder, ["train", "--resume", "run", "--profile"]);
      assertEquals(code, 0, err);
      assertStringIncludes(out, "--profile: no iteration was left to measure");
      assert(!namesIn(`${folder}/run`).includes("trace.json"));
    });
  });
});

describe("bench", () => {
  it("gives the fields that the comparison needs", async () => {
    const args = ["bench", "--batch", "2", "--steps", "1", "--reps", "1", "--warmup", "0", "--threads", "1", "--json"];
    const { code, out, err } = await run("/", args);
    assertEquals(code, 0, err);
    const result = JSON.parse(out);
    for (
      const field of [
        "flow_sample_s",
        "langevin_s",
        "flow_update_s",
        "ebm_update_s",
        "iteration_s",
        "images_per_s_sampling",
        "peak_host_mb",
      ]
    ) assert(result[field] > 0, field);
    assertEquals([result.config, result.batch, result.steps], ["digits", 2, 1]);
    assertEquals(result.winograd, true);
    for (const field of ["peak_gemm_one_thread_gflops", "peak_copy_gbs", "langevin_gflop", "iteration_gflop"]) {
      assert(result[field] > 0, field);
    }
    assertEquals(result.peak_gemm_gflops, result.peak_gemm_one_thread_gflops); // of one thread
  });

  it("prints a profile and writes its trace and its results to files", async () => {
    await withFolder(async (folder) => {
      const small = ["--batch", "2", "--steps", "2", "--reps", "1", "--warmup", "0", "--threads", "1"];
      const args = [...small, "--no-winograd", "--recompute"];
      const { code, out, err } = await run(folder, ["bench", ...args, "--profile", "a.json", "--json", "b.json"]);
      assertEquals(code, 0, err);
      assertEquals(namesIn(folder), ["a.json", "b.json"]);
      const result = JSON.parse(await Deno.readTextFile(`${folder}/b.json`));
      assertEquals([result.winograd, result.recompute, result.threads], [false, true, 1]);
      assertMatch(out, /^winograd +false$/m);
      assertMatch(out, /^iteration( +[\d.]+){4} %$/m);
      assertMatch(out, /^measured peaks +matrix product \d+ GFLOP\/s on one thread; copy [\d.]+ GB\/s$/m);
      for (const title of ["by layer", "by kind of layer", "by operation", "by instruction"]) {
        assertMatch(err, new RegExp(`^${title} +ms +share +calls +GFLOP/s +of peak +MB +GB/s +of peak$`, "m"));
      }
      assertMatch(err, /^conv +[\d.]+ +[\d.]+ % /m);
      assert(!err.includes("winograd_weights"), err);
      assertStringIncludes(err, "ui.perfetto.dev): a.json");
      const { traceEvents } = JSON.parse(await Deno.readTextFile(`${folder}/a.json`));
      checkTrace(traceEvents);
      assert(traceEvents.length > 1000);

      const failed = await run(folder, ["bench", ...args, "--profile", "none/a.json"]);
      assertEquals(failed.code, 1);
      assertStringIncludes(failed.err, "none/a.json");
    });
  });
});

describe("train --phase and --init", () => {
  it("begins with the networks of another run, and refuses both with --resume", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const flow = await run(folder, ["train", ...tiny, "--phase", "flow", "--iterations", "2", "--out", "flow"]);
      assertEquals(flow.code, 0, flow.err);
      const args = ["train", ...tiny, "--init", "flow", "--set", "training.flowFrom=1", "--iterations", "2"];
      const coop = await run(folder, [...args, "--out", "coop"]);
      assertEquals(coop.code, 0, coop.err);
      assert(!coop.out.includes("initialised from"), coop.out);
      const wide = await run(folder, [...args, "--set", "flow.channels=12", "--out", "wide"]);
      assertEquals(wide.code, 2, wide.err);
      assertStringIncludes(wide.err, "flow: expected the networks of the run to begin with");
      const again = await run(folder, ["train", "--resume", "coop", "--init", "flow"]);
      assertEquals(again.code, 2);
      assertStringIncludes(again.err, "--init: expected nothing that changes the run with --resume");
    });
  });
});
