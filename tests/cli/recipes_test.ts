import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readSafetensors } from "../../src/io/safetensors.ts";
import { withFolder } from "../io/support.ts";
import { type Ended, run, tinyFiles } from "./support.ts";

/** Trains two iterations of the tiny model with some settings into `run`, and uses it with every command that runs a chain. */
async function trainAndUse(folder: string, settings: readonly string[]): Promise<Ended[]> {
  const tiny = await tinyFiles(folder);
  const set = settings.flatMap((text) => ["--set", text]);
  const ended = [await run(folder, ["train", ...tiny, ...set, "--iterations", "2", "--out", "run"])];
  for (
    const args of [
      ["sample", "run", "--count", "4", "--out", "images.safetensors"],
      ["diagnose", "run", "--data", "tiny.safetensors", "--chains", "4", "--steps", "60", "--json"],
      ["reconstruct", "run", "--data", "tiny.safetensors", "--count", "2", "--iterations", "3", "--out", "found.png"],
      ["interpolate", "run", "--random", "1", "--out", "walk.png"],
    ]
  ) ended.push(await run(folder, [...args, "--threads", "1"]));
  for (const { code, err } of ended) assertEquals(code, 0, err);
  return ended;
}

async function imagesOf(folder: string): Promise<Uint8Array> {
  const { tensors } = await readSafetensors(`${folder}/images.safetensors`);
  return tensors.get("images")!.bytes;
}

describe("a schedule of the step size", () => {
  it("is used in learning, sampling, diagnosis and search; one that ends where it begins changes nothing", async () => {
    const all: Uint8Array[] = [];
    for (const end of ["0.1", "1", undefined]) {
      await withFolder(async (folder) => {
        await trainAndUse(
          folder,
          end === undefined ? [] : ["langevin.schedule=geometric", `langevin.scheduleEnd=${end}`],
        );
        all.push(await imagesOf(folder));
      });
    }
    const [falling, still, without] = all as [Uint8Array, Uint8Array, Uint8Array];
    assertEquals(still, without);
    assert(falling.some((byte, i) => byte !== without[i]));
  });

  it("is refused by a name that does not exist", async () => {
    await withFolder(async (folder) => {
      const { code, err } = await run(folder, ["train", "--preset", "digits", "--set", "langevin.schedule=cosine"]);
      assertEquals(code, 2);
      assertStringIncludes(err, "langevin.schedule: expected constant or linear or geometric or polynomial");
    });
  });
});
