import { assert, assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { readAll } from "../../src/data/dataset.ts";
import { auroc } from "../../src/metrics/auroc.ts";
import { THREADS } from "../coopflow/native.ts";
import { tinyImages } from "../coopflow/support.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { run, tinyFiles } from "./support.ts";

describe("density", () => {
  it("scores images, tells sets apart, writes each score", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "2", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      const density = ["density", "run", "--data", "tiny.safetensors", "--threads", "1"];
      const against = ["--against", "noise", "--against", "inverted", "--against", "tiny.safetensors"];
      const text = await run(folder, [...density, ...against, "--draws", "3", "--out", "scores.csv"]);
      assertEquals(text.code, 0, text.err);
      assertMatch(text.out, /^ +images +bits\/dim +with 1 draw +energy f$/m);
      assertStringIncludes(text.out, "importance-weighted over 3 draws");
      assertMatch(text.out, /^told from uniform noise +[01]\.\d{4} +[01]\.\d{4}$/m);
      assertMatch(text.out, /^told from tiny\.safetensors.* 0\.5000 +0\.5000$/m);
      const rows = (await Deno.readTextFile(`${folder}/scores.csv`)).trim().split("\n");
      assertEquals(rows.length, 1 + 4 * 24);
      assertEquals(rows[0], "images,index,bits_per_dim,one_draw_bits_per_dim,energy");

      const json = await run(folder, [...density, "--against", "inverted", "--draws", "3", "--json"]);
      assertEquals(json.code, 0, json.err);
      const found = JSON.parse(json.out);
      assertEquals([found.count, found.draws, found.against.length], [24, 3, 1]);
      await using model = await CoopFlow.load(`${folder}/run/checkpoints/iteration_2.safetensors`, THREADS);
      const images = readAll(tinyImages());
      const [own, inverted] = await Promise.all(
        [images, images.map((value) => -value)].map((data) => model.density(data, { draws: 3 })),
      );
      const mean = own!.bitsPerDim.reduce((sum, bits) => sum + bits, 0) / 24;
      assertAlmostEquals(found.bitsPerDim.mean, mean, 1e-6);
      assertEquals(found.against[0].auroc.energy, auroc(own!.energies, inverted!.energies));
      assertEquals(found.against[0].auroc.bitsPerDim, auroc(inverted!.bitsPerDim, own!.bitsPerDim));
      const cells = rows[1]!.split(",");
      assertEquals(Number(cells.at(-1)), own!.energies[0]);
      assert(own!.bitsPerDim[0]! <= own!.oneDrawBitsPerDim[0]!);

      const before = namesIn(folder);
      const wrong: [string[], number, string][] = [
        [["--out", "x.json"], 2, "--out: expected FILE.csv, found x.json"],
        [["--count", "25"], 2, "--count: expected at most the 24 images"],
        [["--against", "nowhere"], 1, "cannot read data from nowhere: no such file"],
        [["--draws", "0"], 2, "--draws: expected a whole number of at least 1"],
      ];
      for (const [args, code, message] of wrong) {
        const ended = await run(folder, [...density, ...args]);
        assertEquals(ended.code, code, ended.err);
        assertStringIncludes(ended.err, message);
        assertEquals(ended.err.trim().split("\n").length, 1, ended.err);
      }
      assertEquals(namesIn(folder), before);
    });
  });
});
