import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readSafetensors } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
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

describe("Metropolis adjustment and accumulation", () => {
  it("tells its acceptance in the metrics and the diagnosis, and resumes with the same bits", async () => {
    await withFolder(async (folder) => {
      const settings = [
        "training.accumulate=2",
        "langevin.metropolis=true",
        "langevin.schedule=linear",
        "langevin.stepSize=0.6",
        "langevin.sampleStepSize=0.6",
      ];
      const [, , diagnosed] = await trainAndUse(folder, settings);
      const lines = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n").map((line) =>
        JSON.parse(line)
      );
      for (const { acceptance } of lines) assert(acceptance > 0 && acceptance <= 1, `${acceptance}`);
      const { chain } = JSON.parse(diagnosed!.out);
      for (const { acceptance } of chain.rows) assert(acceptance >= 0 && acceptance <= 1, `${acceptance}`);
      assertStringIncludes(await Deno.readTextFile(`${folder}/run/report.html`), "Acceptance");
      const events = namesIn(`${folder}/run`).filter((name) => name.includes("tfevents"));
      const text = new TextDecoder("latin1").decode(await Deno.readFile(`${folder}/run/${events[0]}`));
      assertStringIncludes(text, "acceptance");

      const go = (out: string, iterations: string) =>
        run(folder, ["train", ...["--resume", out], "--iterations", iterations, "--quiet"]);
      const all = await run(folder, [
        "train",
        ...await tinyFiles(folder),
        ...settings.flatMap((text) => ["--set", text]),
        "--iterations",
        "4",
        "--out",
        "whole",
        "--quiet",
      ]);
      assertEquals(all.code, 0, all.err);
      assertEquals((await go("run", "4")).code, 0);
      const ends = await Promise.all(["run", "whole"].map(async (name) => {
        const { tensors } = await readSafetensors(`${folder}/${name}/checkpoints/iteration_4.safetensors`);
        return [...tensors].map(([tensor, { bytes }]) => [tensor, bytes] as const);
      }));
      assertEquals(ends[0], ends[1]);
    });
  });

  it("is refused without noise", async () => {
    await withFolder(async (folder) => {
      const { code, err } = await run(folder, ["train", "--preset", "digits", "--set", "langevin.metropolis=true"]);
      assertEquals(code, 2);
      assertStringIncludes(err, "langevin.noise: expected true with langevin.metropolis, found false");
    });
  });
});

describe("precision", () => {
  const LINE = "precision: float32 (auto: on the CPU Winograd's convolutions in it are faster than bf16)";

  it("auto takes float32 on the CPU and says so in one line; the run keeps what its configuration says", async () => {
    await withFolder(async (folder) => {
      const args = ["train", ...await tinyFiles(folder), "--iterations", "1"];
      const asked = await run(folder, [...args, "--precision", "auto", "--out", "asked"]);
      assertEquals([asked.code, asked.out.split("\n").filter((line) => line === LINE).length], [0, 1], asked.err);
      const plain = await run(folder, ["sample", "asked", "--count", "1", "--out", "one.png"]);
      assertEquals([plain.code, plain.err.includes("precision")], [0, false], plain.err);
      const kept = await run(folder, [...args, "--set", "compute.precision=auto", "--out", "kept"]);
      assertEquals(kept.code, 0, kept.err);
      const sampled = await run(folder, ["sample", "kept", "--count", "1", "--out", "two.png"]);
      assertEquals([sampled.code, sampled.err.trim()], [0, LINE]);
    });
  });

  it("bf16 is refused on the CPU, saying why, by option and by configuration", async () => {
    await withFolder(async (folder) => {
      for (const how of [["--precision", "bf16"], ["--set", "compute.precision=bf16"]]) {
        const { code, err } = await run(folder, ["train", ...await tinyFiles(folder), ...how, "--out", "run"]);
        assertEquals([code, err.trim().split("\n").length], [2, 1], err);
        assertStringIncludes(
          err,
          "precision: the CPU computes in float32 only, found bf16: Winograd's convolutions in float32",
        );
      }
    });
  });
});

describe("magnitude of energies", () => {
  it("is a figure of each iteration, and smaller when it is held down", async () => {
    const magnitudes: number[] = [];
    for (const alpha of ["1e-6", "1"]) {
      await withFolder(async (folder) => {
        const set = ["--set", `training.ebm.magnitude=${alpha}`, "--set", "training.ebm.lr=0.03"];
        const args = ["train", ...await tinyFiles(folder), ...set, "--iterations", "40", "--out", "run", "--quiet"];
        const { code, err } = await run(folder, args);
        assertEquals(code, 0, err);
        const last = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n").at(-1)!;
        magnitudes.push(JSON.parse(last).ebmMagnitude / Number(alpha));
      });
    }
    assert(magnitudes[1]! < magnitudes[0]! / 2, `${magnitudes}`);
  });
});

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
