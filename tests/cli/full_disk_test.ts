// A disk that becomes full: a small file system in memory, where mounting one is allowed.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readCheckpoint } from "../../src/coopflow/checkpoint.ts";
import { encodePng } from "../../src/io/png.ts";
import { randomBits } from "../../src/random.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { type Ended, run, tinyFiles } from "./support.ts";

function system(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Runs `body` in a folder with a disk of so many kilobytes in it, `disk`; `enlarge` makes room on it. */
async function withDisk(
  kilobytes: number,
  body: (folder: string, enlarge: () => void) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const disk = `${folder}/disk`;
    await Deno.mkdir(disk);
    assert(system("mount", "-t", "tmpfs", "-o", `size=${kilobytes}k`, "none", disk));
    try {
      await body(folder, () => assert(system("mount", "-o", "remount,size=64m", disk)));
    } finally {
      assert(system("umount", disk));
    }
  });
}

function canMount(): boolean {
  const folder = Deno.makeTempDirSync();
  try {
    return system("mount", "-t", "tmpfs", "-o", "size=64k", "none", folder) && system("umount", folder);
  } finally {
    Deno.removeSync(folder);
  }
}

const options = { ignore: !canMount(), reason: "needs to be allowed to mount a file system (root)" };

/** Exit code 1 and one line that says why. */
function expectFull({ code, err }: Ended, message: string): void {
  assertEquals(code, 1, err);
  assertMatch(err, /^coopflow: [^\n]*[Nn]o space left on device[^\n]*\n$/);
  assertStringIncludes(err, message);
}

describe("a disk that becomes full", () => {
  it("ends training with what was written before, and training goes on when there is room", options, async () => {
    await withDisk(1500, async (folder, enlarge) => {
      const tiny = [...await tinyFiles(folder), "--iterations", "12", "--quiet"];
      const often = ["--set", "training.checkpointEvery=1", "--set", "training.keepCheckpoints=100"];
      assertEquals((await run(folder, ["train", ...tiny, ...often, "--out", "whole"])).code, 0);
      expectFull(await run(folder, ["train", ...tiny, ...often, "--out", "disk/run"]), "checkpoints/iteration_");

      const checkpoints = namesIn(`${folder}/disk/run/checkpoints`);
      assert(checkpoints.length > 1 && checkpoints.length < 13, checkpoints.join());
      for (const name of checkpoints) await readCheckpoint(`${folder}/disk/run/checkpoints/${name}`);
      const lines = (await Deno.readTextFile(`${folder}/disk/run/metrics.jsonl`)).trim().split("\n");
      assert(lines.length >= checkpoints.length - 1);
      for (const line of lines) JSON.parse(line);
      assertStringIncludes((await run(folder, ["runs", "disk"])).out, "failed");

      // Until there is room, it ends in the same way, and loses nothing.
      expectFull(await run(folder, ["train", "--resume", "disk/run", "--quiet"]), "cannot ");
      for (const name of checkpoints.slice(0, -1)) await readCheckpoint(`${folder}/disk/run/checkpoints/${name}`);
      enlarge();
      const resumed = await run(folder, ["train", "--resume", "disk/run", "--quiet"]);
      assertEquals(resumed.code, 0, resumed.err);
      const last = "checkpoints/iteration_12.safetensors";
      assertEquals(await Deno.readFile(`${folder}/disk/run/${last}`), await Deno.readFile(`${folder}/whole/${last}`));
    });
  });

  it("ends sampling, which goes on where it was", options, async () => {
    await withDisk(400, async (folder, enlarge) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "1", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      const sample = (out: string, count: number): Promise<Ended> =>
        run(folder, ["sample", "run", "--count", String(count), "--out", out, "--threads", "1"]);

      expectFull(await sample("disk/a.safetensors", 8000), "a.safetensors.part");
      assertEquals(namesIn(`${folder}/disk`), ["a.safetensors.part"]);
      await Deno.remove(`${folder}/disk/a.safetensors.part`);
      expectFull(await sample("disk/images", 150), "disk/images/image_");
      const kept = namesIn(`${folder}/disk/images`).filter((name) => name.startsWith("image_"));
      assert(kept.length > 50 && kept.length < 150, `${kept.length}`);
      const before = await Promise.all(kept.map((name) => Deno.stat(`${folder}/disk/images/${name}`)));

      enlarge();
      for (const [name, count] of [["images", 150], ["a.safetensors", 8000]] as const) {
        assertEquals((await sample(`disk/${name}`, count)).code, 0);
        assertEquals((await sample(name, count)).code, 0);
      }
      const names = namesIn(`${folder}/images`);
      assertEquals(namesIn(`${folder}/disk/images`), names);
      for (const name of [...names.map((image) => `images/${image}`), "a.safetensors"]) {
        assertEquals(await Deno.readFile(`${folder}/disk/${name}`), await Deno.readFile(`${folder}/${name}`));
      }
      // What had been written was not written again, but for the last: 16 are written at a time, and those behind the first
      // that is missing count as missing.
      const after = await Promise.all(kept.map((name) => Deno.stat(`${folder}/disk/images/${name}`)));
      assertEquals(after.map(({ mtime }) => mtime).slice(0, -16), before.map(({ mtime }) => mtime).slice(0, -16));
    });
  });

  it("is told of by who decodes pictures or evaluates", options, async () => {
    await withDisk(200, async (folder) => {
      await Deno.mkdir(`${folder}/pictures`);
      for (let i = 0; i < 8; i++) {
        const data = Uint8Array.from(randomBits(i, "picture", 100 * 100 * 3), (bits) => bits >>> 24);
        await Deno.writeFile(`${folder}/pictures/${i}.png`, encodePng({ width: 100, height: 100, channels: 3, data }));
      }
      const cache = { COOPFLOW_CACHE: `${folder}/disk` };
      const describeThem = ["data", "pictures", "--size", "100"];
      expectFull(await run(folder, describeThem, cache), "set COOPFLOW_CACHE to another folder");
      assertEquals(namesIn(`${folder}/disk`), []);
      assertEquals((await run(folder, describeThem, { COOPFLOW_CACHE: "" })).code, 0);

      const tiny = await tinyFiles(folder);
      assertEquals((await run(folder, ["train", ...tiny, "--iterations", "1", "--out", "run", "--quiet"])).code, 0);
      const evaluate = ["evaluate", "run", "--data", "tiny.safetensors", "--threads", "1", "--metrics", "distances"];
      const many = [...evaluate, "--count", "5000"];
      expectFull(await run(folder, many, { TMPDIR: `${folder}/disk` }), "set TMPDIR to another folder");
      await Deno.writeFile(`${folder}/disk/fill`, new Uint8Array(196 * 1024));
      expectFull(await run(folder, [...evaluate, "--count", "40", "--report", "disk/page.html"]), "disk/page.html");
    });
  });
});
