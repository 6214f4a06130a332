import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readSafetensors } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { global, torchZip, tuple } from "../io/torch_support.ts";
import { run, tinyFiles } from "./support.ts";

describe("import and export", () => {
  it("take a run out and in again, and it goes on and draws", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "2", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      for (
        const [to, ...more] of [["a.pth.tar", "--optimizers", "--data-parallel"], [
          "b.safetensors",
          "--live-parameters",
        ]]
      ) {
        const exported = await run(folder, ["export", "run", "--to", to!, ...more]);
        assertEquals([exported.code, exported.out], [0, `iteration 2 of run in ${to}\n`], exported.err);
      }
      const imported = await run(folder, ["import", "a.pth.tar", "again", "--set", "langevin.steps=3"]);
      assertEquals(imported.code, 0, imported.err);
      assertStringIncludes(imported.out, "parameters after 2 iterations in again");
      assertEquals(namesIn(`${folder}/again/checkpoints`), ["iteration_2.safetensors"]);
      const config = JSON.parse(await Deno.readTextFile(`${folder}/again/config.json`));
      assertEquals([config.langevin.steps, config.data.levels], [3, 4]);
      const listed = await run(folder, ["runs", "."]);
      assertMatch(listed.out, /^again +(interrupted|finished) +2\/\d+ .*\n[^]*again: imported from a\.pth\.tar\n/m);
      const resume = ["train", "--resume", "again", "--data", "tiny.safetensors", "--iterations", "3", "--quiet"];
      const resumed = await run(folder, resume);
      assertEquals(resumed.code, 0, resumed.err);
      const other = await run(folder, ["import", "b.safetensors", "other"]);
      assertEquals(other.code, 0, other.err);
      const drawn = await run(folder, ["sample", "other", "--count", "2", "--out", "x.png", "--threads", "1"]);
      assertEquals(drawn.code, 0, drawn.err);
      const wrong = await run(folder, ["import", "b.safetensors", "wrong", "--set", "flow.blocks=2"]);
      assertEquals(wrong.code, 1);
      assertStringIncludes(wrong.err, "missing: flow.flows.checkers.2.nn.mid_convs.1.");
    });
  });

  it("take simple couplings out and in again, and say who can't use them", async () => {
    for (const coupling of ["affine", "additive"]) {
      await withFolder(async (folder) => {
        const args = ["train", ...await tinyFiles(folder), "--set", `flow.coupling=${coupling}`, "--iterations", "2"];
        const trained = await run(folder, [...args, "--out", "run", "--quiet"]);
        assertEquals(trained.code, 0, trained.err);
        const exported = await run(folder, ["export", "run", "--to", "a.pth.tar", "--optimizers"]);
        assertEquals([exported.code, exported.out], [0, "iteration 2 of run in a.pth.tar\n"]);
        assertStringIncludes(exported.err, `the authors' program has no ${coupling} couplings`);
        const imported = await run(folder, ["import", "a.pth.tar", "again"]);
        assertEquals(imported.code, 0, imported.err);
        const bytes = [];
        for (const  of of["run", "again"]) {
          const drawn = await run(folder, [
            "sample",
            of,
            "--count",
            "3",
            "--live-parameters",
            "--out",
            `${of}.safetensors`,
          ]);
          assertEquals(drawn.code, 0, drawn.err);
          bytes.push((await readSafetensors(`${folder}/${of}.safetensors`)).tensors.get("images")?.bytes);
        }
        assertEquals(bytes[0], bytes[1]);
        const wrong = await run(folder, ["import", "a.pth.tar", "wrong", "--set", "flow.coupling=mixture"]);
        assertEquals([wrong.code, wrong.err.trim().split("\n").length], [1, 1]);
        assertStringIncludes(wrong.err, "tensors of the configuration; ");
      });
    }
  });

  it("refuse what would be run, missing files and wrong names in one line", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/evil.pth.tar`, torchZip([global("os", "system"), tuple(), "R"]));
      const cases: [string[], number, string][] = [
        [["import", "evil.pth.tar", "out"], 1, "names os.system"],
        [["import", "none.pth.tar", "out"], 1, "cannot read none.pth.tar: no such file or directory"],
        [["import", "evil.pth.tar", "out", "--preset", "digit"], 2, "--preset: expected digits, "],
        [["export", "none", "--to", "x.pth.tar"], 1, "cannot read none: no such file or directory"],
        [["export", "none"], 2, "expected this option, found it missing"],
      ];
      for (const [args, code, message] of cases) {
        const ended = await run(folder, args);
        assertEquals(ended.code, code, ended.err);
        assertStringIncludes(ended.err, message);
        assertEquals(ended.err.trim().split("\n").length, 1);
      }
      assert(!namesIn(folder).includes("out"));
    });
  });
});
