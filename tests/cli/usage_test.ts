import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { namesIn, withFolder } from "../io/support.ts";
import { run } from "./support.ts";

/** Each ends with exit code 2 before anything is written. */
const WRONG: readonly [name: string, args: string[], message: string][] = [
  ["no command", [], "expected a command, found none"],
  ["an unknown command", ["trian"], "the nearest is train"],
  ["an unknown option", ["train", "--itertions", "5"], "unknown option --itertions; the nearest is --iterations"],
  [
    "a number that is none",
    ["train", "--iterations", "x"],
    '--iterations: expected a whole number of at least 1, found "x"',
  ],
  ["batch 0", ["train", "--batch", "0"], '--batch: expected a whole number of at least 1, found "0"'],
  [
    "a negative count",
    ["sample", "x", "--out", "y", "--count", "-5"],
    '--count: expected a whole number of at least 1, found "-5"',
  ],
  [
    "a misspelt option that is needed",
    ["sample", "x", "--out", "y", "--cuont", "5"],
    "unknown option --cuont; the nearest",
  ],
  ["a missing option", ["sample", "x", "--out", "y"], "--count <n>: expected this option"],
  ["a missing argument", ["sample", "--count", "1", "--out", "y"], "<run>: expected this argument"],
  ["a missing value", ["train", "--seed"], "--seed <n>: expected a value, found none"],
  ["an argument too many", ["train", "x"], "train: expected 0 arguments, found 1: x"],
  [
    "an unknown preset",
    ["train", "--preset", "digit"],
    'or celeba64, found "digit"',
  ],
  ["an unknown device", ["train", "--device", "tpu"], '--device: expected auto, cpu, cuda or cuda:NUMBER, found "tpu"'],
  ["T = 0", ["train", "--set", "langevin.steps=0"], "langevin.steps: expected a number of at least 1, found 0"],
  ["an odd size", ["train", "--set", "data.height=7"], "data.height: expected a multiple of 4, found 7"],
  ["an unknown field", ["train", "--set", "training.flow.lrate=1"], "the nearest is training.flow.lr"],
  ["a field without a value", ["train", "--set", "seed"], "--set: expected path=value"],
  ["two ways to print", ["train", "--json", "--quiet"], "expected --json or --quiet, found both"],
  [
    "a changed run",
    ["train", "--resume", "x", "--batch", "3"],
    "--batch: expected nothing that changes the run with --resume",
  ],
  ["a size without data", ["train", "--size", "32"], "--size: expected --data with it, found none"],
  [
    "a size that is none",
    ["data", "x", "--size", "32x"],
    '--size: expected a size such as 32 or 48x64 (height×width), found "32x"',
  ],
  ["another crop of a run", ["train", "--resume", "x", "--crop", "8"], "--crop: expected nothing that changes the run"],
  ["data without a path", ["data"], "<path>: expected this argument"],
  ["a grid that is no PNG", ["data", "x", "--grid", "y.jpg"], "--grid: expected FILE.png, found y.jpg"],
  [
    "images that nobody gave",
    ["train", "--preset", "small"],
    "expected --data with images of 32×32×3, found none; those built in are 8×8×1, for --preset digits",
  ],
  [
    "an unknown kind of file",
    ["sample", "x", "--count", "1", "--out", "y.gif"],
    "expected a folder, FILE.png, FILE.apng or FILE.safetensors",
  ],
  [
    "proposals that are there anyway",
    ["sample", "x", "--count", "1", "--out", "y.safetensors", "--proposals"],
    "--proposals: expected --out to be a folder or FILE.png, as safetensors files always hold them",
  ],
  [
    "states of no chain",
    ["sample", "x", "--count", "1", "--out", "y", "--states", "3"],
    "--states: expected --trajectory",
  ],
  [
    "chains in a folder",
    ["sample", "x", "--count", "1", "--out", "y", "--trajectory"],
    "--trajectory: expected --out to be FILE.png, FILE.apng or FILE.safetensors, found y",
  ],
  [
    "an animation of nothing",
    ["sample", "x", "--count", "1", "--out", "y.apng"],
    "--out: expected --trajectory with FILE.apng",
  ],
  [
    "a grid of tensors",
    ["sample", "x", "--count", "1", "--out", "y.safetensors", "--grid"],
    "--grid: expected --out to be",
  ],
];

const COMMANDS = [
  "train",
  "data",
  "runs",
  "report",
  "sample",
  "reconstruct",
  "inpaint",
  "interpolate",
  "density",
  "diagnose",
  "toy2d",
  "import",
  "export",
  "bench",
  "parity",
];

describe("wrong usage", () => {
  for (const [name, args, message] of WRONG) {
    it(`${name} is one line and exit code 2`, async () => {
      await withFolder(async (folder) => {
        const { code, err } = await run(folder, args);
        assertEquals(code, 2, err);
        const line = err.trim().split("\n").at(-1) ?? "";
        assertStringIncludes(line, message);
        assertMatch(line, /^coopflow: .*[^.]$/);
        assertEquals(namesIn(folder), []);
      });
    });
  }
});

describe("train --preset NAME-pre", () => {
  it("says so where no run is given to begin with", async () => {
    await withFolder(async (folder) => {
      const args = ["train", "--preset", "digits-pre", "--out", "."];
      await Deno.writeTextFile(`${folder}/notes.txt`, "");
      const { code, out } = await run(folder, args);
      assertEquals(code, 2);
      assertStringIncludes(out, "digits-pre: expected the trained flow of another run by --init RUN, found none");
    });
  });
});

describe("--help", () => {
  for (const command of COMMANDS) {
    it(`of ${command} has an example`, async () => {
      const { code, out } = await run("/", [command, "--help"]);
      assertEquals(code, 0);
      assertMatch(out, new RegExp(`Example:\\n  deno task ${command} `));
      assert(!out.includes("(default: [])"), out);
    });
  }

  it("loads none of the libraries that commands need", async () => {
    const { code, out } = await run("/", ["--help"], { COOPFLOW_LIBRARY: "/nowhere" });
    assertEquals(code, 0);
    for (const command of COMMANDS) assert(out.includes(command));
  });
});
