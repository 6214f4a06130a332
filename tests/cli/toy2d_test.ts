import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { toy2d } from "../../src/coopflow/toy2d/toy2d.ts";
import { THREADS } from "../coopflow/native.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { run } from "./support.ts";

const SHORT = ["--iterations", "20", "--samples", "3000", "--threads", "1"];

describe("toy2d", () => {
  it("tells distances in words and as JSON, draws the picture", async () => {
    await withFolder(async (folder) => {
      const text = await run(folder, ["toy2d", "--density", "two-moons", ...SHORT, "--out", "pictures/moons.png"]);
      assertEquals(text.code, 0, text.err);
      assertMatch(text.out, /^two-moons, noisy chains, averaged parameters, 20 iterations in \d/m);
      for (const row of ["flow's density", "energy, normalised", "proposals, counted", "revised, counted"]) {
        assertMatch(text.out, new RegExp(`^${row} +\\d+\\.\\d{3} +[01]\\.\\d{3}$`, "m"));
      }
      const view = new DataView((await Deno.readFile(`${folder}/pictures/moons.png`)).buffer);
      assertEquals([view.getUint32(16), view.getUint32(20)], [5 * 260 + 4 * 8, 260]);

      const json = await run(folder, ["toy2d", ...SHORT, "--noise-free", "--seed", "3", "--json"]);
      assertEquals(json.code, 0, json.err);
      const found = JSON.parse(json.out);
      assertEquals(
        [found.density, found.noise, found.iterations, found.seed, found.samples],
        ["eight-gaussians", false, 20, 3, 3000],
      );
      const library = await toy2d("eight-gaussians", {
        noise: false,
        iterations: 20,
        seed: 3,
        samples: 3000,
        ...THREADS,
      });
      assertEquals(found.divergences, library.divergences);
      assert(library.divergences.truth.kl < library.divergences.revised.kl);

      const before = namesIn(folder);
      const wrong: [string[], string][] = [
        [
          ["--density", "three-moons"],
          "--density: expected eight-gaussians, two-moons, pinwheel, checkerboard or rings",
        ],
        [["--out", "x.jpg"], "--out: expected FILE.png, found x.jpg"],
        [["--iterations", "0"], "--iterations: expected a whole number from 1"],
      ];
      for (const [args, message] of wrong) {
        const ended = await run(folder, ["toy2d", ...args]);
        assertEquals(ended.code, 2, ended.err);
        assertStringIncludes(ended.err, message);
        assertEquals(ended.err.trim().split("\n").length, 1, ended.err);
      }
      assertEquals(namesIn(folder), before);
    });
  });
});
