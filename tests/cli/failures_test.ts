import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { type Ended, run, tinyFiles } from "./support.ts";

/** Exit code 1 and one line with `message` in it. */
function expectFailure({ code, err }: Ended, message: string): void {
  assertEquals(code, 1, err);
  assertStringIncludes(err, message);
  assertMatch(err, /^coopflow: [^\n]*[^.\n]\n$/);
}

/** Writes images as a data set. */
async function images(path: string, shape: number[], fill: (i: number) => number): Promise<void> {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => fill(i));
  await writeSafetensors(path, new Map([["images", tensorOf(shape, data)]]), new Map([["levels", "4"]]));
}

describe("failures", () => {
  it("of paths that are not there or can't be written", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      expectFailure(await run(folder, ["train", "--data", "nowhere"]), "cannot read data from nowhere: no such file");
      expectFailure(await run(folder, ["train", "--config", "no.json"]), "cannot read the configuration no.json");
      expectFailure(
        await run(folder, ["train", "--resume", "none"]),
        "none: expected a run directory with config.json",
      );
      expectFailure(
        await run(folder, ["sample", "none", "--count", "1", "--out", "x"]),
        "cannot read none: no such file",
      );
      expectFailure(await run(folder, ["parity", "none"]), "none");
      expectFailure(await run(folder, ["train", ...tiny, "--out", "tiny.json/run"]), "cannot write tiny.json/run: ");
    });
  });

  it("of data that does not fit", async () => {
    await withFolder(async (folder) => {
      const config = (await tinyFiles(folder)).slice(0, 2);
      const bad = async (shape: number[], fill: (i: number) => number, message: string): Promise<void> => {
        await images(`${folder}/bad.safetensors`, shape, fill);
        expectFailure(await run(folder, ["train", ...config, "--data", "bad.safetensors", "--out", "run"]), message);
        assertEquals(namesIn(folder).includes("run"), false);
      };
      await bad([3, 8, 4, 1], () => 0, "data.height: expected 4 as configured, found 8");
      await bad([3, 4, 4, 3], () => 0, "data.channels: expected 1 as configured, found 3");
      await bad([3, 4, 4, 1], () => 7, "expected values in [0, 1], in [−1, 1] or levels 0 to 3, found 7 to 7");
      await bad([3, 4, 4, 1], (i) => i === 20 ? NaN : 0, "finite");
    });
  });

  it("of checkpoints that are damaged or something else", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      assertEquals((await run(folder, ["train", ...tiny, "--out", "run", "--iterations", "2"])).code, 0);
      const sample = ["--count", "2", "--out", "images", "--threads", "1"];
      expectFailure(await run(folder, ["sample", "tiny.safetensors", ...sample]), "expected a checkpoint of format");
      const checkpoints = [0, 2].map((n) => `${folder}/run/checkpoints/iteration_${n}.safetensors`);
      for (const path of checkpoints) await Deno.truncate(path, 5000);
      expectFailure(await run(folder, ["train", "--resume", "run"]), "iteration_0.safetensors: cut short");
      expectFailure(await run(folder, ["sample", "run", ...sample]), "iteration_0.safetensors: cut short");
      expectFailure(
        await run(folder, ["sample", checkpoints[1] ?? "", ...sample]),
        "iteration_2.safetensors: cut short",
      );
    });
  });

  it("of a run whose configuration was changed under its checkpoint", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      assertEquals((await run(folder, ["train", ...tiny, "--out", "run", "--iterations", "2"])).code, 0);
      const config = await Deno.readTextFile(`${folder}/run/config.json`);
      await Deno.writeTextFile(`${folder}/run/config.json`, config.replace('"components": 2', '"components": 3'));
      expectFailure(await run(folder, ["train", "--resume", "run", "--iterations", "3"]), "run: flow: expected");
    });
  });

  it("of a native library that is missing or something else", async () => {
    await withFolder(async (folder) => {
      const tiny = ["train", ...await tinyFiles(folder)];
      expectFailure(
        await run(folder, tiny, { COOPFLOW_LIBRARY: `${folder}/none.so` }),
        "expected the native library at",
      );
      expectFailure(await run(folder, tiny, { COOPFLOW_LIBRARY: `${folder}/tiny.json` }), 'run "deno task build"');
    });
  });

  it("of a native library that is missing, broken or of another version", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const train = (library: string): Promise<Ended> =>
        run(folder, ["train", ...tiny, "--out", "run"], { COOPFLOW_LIBRARY: library });
      expectFailure(
        await train(`${folder}/none.so`),
        `expected the native library at ${folder}/none.so, found none that loads`,
      );
      await Deno.writeTextFile(`${folder}/broken.so`, "no library");
      expectFailure(await train(`${folder}/broken.so`), "found none that loads");
      await Deno.writeTextFile(`${folder}/old.c`, "unsigned cf_abi_version(void) { return 999; }");
      const cc = await new Deno.Command("cc", { args: ["-shared", "-fPIC", "-o", "old.so", "old.c"], cwd: folder })
        .output();
      assertEquals(cc.code, 0);
      expectFailure(await train(`${folder}/old.so`), "expected a native library of ABI 1, found ABI 999");
    });
  });
});
