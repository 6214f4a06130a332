import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readAll } from "../../src/data/dataset.ts";
import { frechetDistance } from "../../src/metrics/frechet.ts";
import { pixelMoments } from "../../src/metrics/pixel_frechet.ts";
import type { Distances } from "../../src/coopflow/evaluation.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { momentsOf } from "../../src/metrics/moments.ts";
import { readStatistics, writeStatistics } from "../../src/metrics/statistics_file.ts";
import { THREADS } from "../coopflow/native.ts";
import { tinyImages } from "../coopflow/support.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { normals } from "../../src/random.ts";
import { run, tinyFiles } from "./support.ts";

describe("evaluate", () => {
  it("judges a run: every figure, in words and as JSON, and refuses what it can't do", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "2", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      const evaluate = ["evaluate", "run", "--data", "tiny.safetensors", "--threads", "1", "--count", "40"];
      const metrics = ["--metrics", "likelihood,distances,manifold,energies"];
      const text = await run(folder, [...evaluate, ...metrics]);
      assertEquals(text.code, 0, text.err);
      assertStringIncludes(text.out, "iteration 2, against 24 images of");
      assertStringIncludes(text.out, "40 generated, 24 real images; not resized");
      const found = JSON.parse(await Deno.readTextFile(`${folder}/run/evaluation.json`));
      assertEquals(found.distances.map((d: { generated: string }) => d.generated), ["noise", "proposals", "revised"]);
      for (const { frechet, manifold } of found.distances) {
        assert(frechet.low < frechet.value && frechet.value < frechet.high);
        assertEquals([manifold.generated, manifold.real, manifold.k], [40, 24, 5]);
      }
      assertEquals(Object.keys(found.energies.counts), ["real", "noise", "proposals", "revised"]);

      // The same as by hand.
      await using model = await CoopFlow.load(`${folder}/run/checkpoints/iteration_2.safetensors`, THREADS);
      const { images } = await model.sample(40);
      const expected = frechetDistance(pixelMoments(images, 40), pixelMoments(readAll(tinyImages()), 24));
      assertAlmostEquals(found.distances[2].frechet.value, expected, 1e-6 * expected);
      const { bitsPerDim } = await model.density(readAll(tinyImages()));
      assertAlmostEquals(found.bitsPerDim.value, bitsPerDim.reduce((sum, b) => sum + b, 0) / 24, 1e-5);

      const long = await run(folder, [
        ...evaluate,
        "--metrics",
        "distances",
        "--steps",
        "9",
        "--json",
        "--out",
        "9.json",
      ]);
      assertEquals(long.code, 0, long.err);
      const revised = JSON.parse(long.out);
      assertEquals([found.steps, revised.steps], [2, 9]);
      const values = [found, revised].map(({ distances }) => distances.map((d: Distances) => d.frechet?.value));
      assertEquals(values[1].slice(0, 2), values[0].slice(0, 2));
      assert(values[1][2] !== values[0][2]);

      const size = images.length / 40;
      await writeStatistics(`${folder}/real.npz`, pixelMoments(readAll(tinyImages()), 24));
      const files = ["--save-statistics", "saved.npz", "--report", "page.html"];
      const known = ["--metrics", "distances,energies,nearest", "--statistics", "real.npz", "--json"];
      const again = await run(folder, [...evaluate, ...known, ...files]);
      assertEquals(again.code, 0, again.err);
      assertAlmostEquals(JSON.parse(again.out).distances[2].frechet.value, expected, 1e-6 * expected);

      const saved = await readStatistics(`${folder}/saved.npz`);
      assertEquals(saved, await readStatistics(`${folder}/real.npz`));
      const page = await Deno.readTextFile(`${folder}/page.html`);
      for (const part of ["run: evaluation", "Distances by pixels", "revised images", "<svg"]) {
        assertStringIncludes(page, part);
      }

      const before = namesIn(folder);
      await writeStatistics(`${folder}/other.npz`, momentsOf(normals(0, "x", 30), 10, 3));
      const wrong: [string[], number, string][] = [
        [["--metrics", "fid"], 2, "--metrics: expected some of likelihood, distances"],
        [["--count", "1"], 2, "--count: expected a whole number of at least 2"],
        [["--report", "x.txt"], 2, "--report: expected FILE.html, found x.txt"],
        [["--save-statistics", "x.npz", "--metrics", "manifold"], 2, "expected distances among --metrics"],
        [["--out", "x.txt"], 2, "--out: expected FILE.json, found x.txt"],
        [["--statistics", "none.npz"], 1, "cannot read none.npz: no such file"],
        [
          ["--statistics", "other.npz", "--metrics", "distances"],
          1,
          `expected features of one dimension, got ${size} and 3`,
        ],
        [["--real", "3", "--metrics", "manifold"], 1, "expected more than 5 images of each kind, found 3"],
      ];
      for (const [args, code, message] of wrong) {
        const ended = await run(folder, [...evaluate, ...args]);
        assertEquals(ended.code, code, ended.err);
        assertStringIncludes(ended.err, message);
      }
      await Deno.remove(`${folder}/other.npz`);
      assertEquals(namesIn(folder), before);
    });
  });
});

describe("statistics in pytorch-fid's files", () => {
  it("come back as they were", async () => {
    await withFolder(async (folder) => {
      const moments = momentsOf(normals(1, "x", 200), 40, 5);
      await writeStatistics(`${folder}/s.npz`, moments);
      const { mean, covariance, dimension } = await readStatistics(`${folder}/s.npz`);
      assertEquals([mean, covariance, dimension], [moments.mean, moments.covariance, 5]);
    });
  });
});
