import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { namesIn, withFolder } from "../io/support.ts";
import { run, tinyFiles } from "./support.ts";

describe("diagnose", () => {
  it("tells of moments, learning and chains in words and as JSON", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "4", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      const diagnose = ["diagnose", "run", "--data", "tiny.safetensors", "--threads", "1"];
      const text = await run(folder, [...diagnose, "--steps", "130", "--chains", "5", "--out", "pictures/a.png"]);
      assertEquals(text.code, 0, text.err);
      assertMatch(text.out, /^moments: .* over 24 data and as many revised images$/m);
      assertMatch(text.out, /^f\.\S+( +[\d.e+-]+){5}$/m);
      assertMatch(text.out, /^the moments (match as far as 24 images can tell|differ most in f\.)/m);
      assertMatch(text.out, /^4 +0\.\d{4}( +-?[\d.]+){3}$/m);
      assertMatch(text.out, /^2 = T +-?[\d.]+ ± [\d.]+ +[\d.e+-]+ +[\d.]+ % +[\d.]+ % +[\d.]+$/m);
      assertMatch(text.out, /^after 130 steps the chains (stay|have drifted): f is /m);
      const view = new DataView((await Deno.readFile(`${folder}/pictures/a.png`)).buffer);
      assertEquals([view.getUint32(16), view.getUint32(20)], [3 * 42 + 2, 5 * 42 + 2]);

      const checkpoint = "run/checkpoints/iteration_4.safetensors";
      const json = await run(folder, [...diagnose.with(1, checkpoint), "--steps", "3", "--chains", "2", "--json"]);
      assertEquals(json.code, 0, json.err);
      const found = JSON.parse(json.out);
      assertEquals([found.iteration, found.images, found.learning], [4, 24, null]);
      assertEquals(found.chain.rows.map(({ step }: { step: number }) => step), [0, 1, 2, 3]);
      assertEquals(Object.keys(found.moments[0]), [
        "layer",
        "data",
        "synthesised",
        "difference",
        "chance",
        "cosine",
      ]);

      const lines = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n");
      await Deno.writeTextFile(`${folder}/run/metrics.jsonl`, `${lines[0]}\nnonsense\n`);
      const before = namesIn(folder);
      const wrong: [string[], number, string][] = [
        [[], 1, "metrics.jsonl, line 2: expected an iteration's metrics; mend or remove it"],
        [["--out", "x.gif"], 2, "--out: expected FILE.png, found x.gif"],
        [["--steps", "0"], 2, "--steps: expected a whole number from 1 to 1000000"],
        [["--count", "1"], 2, "--count: expected at least 2 images, found 1"],
        [["--count", "99"], 2, "--count: expected at most the 24 images"],
      ];
      for (const [args, code, message] of wrong) {
        const ended = await run(folder, [...diagnose, ...args]);
        assertEquals(ended.code, code, ended.err);
        assertStringIncludes(ended.err, message);
        assertEquals(ended.err.trim().split("\n").length, 1, ended.err);
      }
      assertEquals(namesIn(folder), before);
    });
  });
});
