/** Runs the C and C++ tests of the native library, and the addon in Node and Deno. */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fileURLToPath } from "node:url";
import { compileGraph } from "../../src/compile/compile.ts";
import { add, feed, mul, state } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";

const BUILD = fileURLToPath(new URL("../../native/build/", import.meta.url));
const FOLDER = `${BUILD}tests/`;

/** y = w·x, then w becomes w + 1. */
function smallProgram(): Uint8Array {
  const g = new Graph();
  const w = state(g, "w", [4]);
  g.fetch("y", mul(w, feed(g, "x", [4])));
  g.assign("w", add(w, 1));
  return compileGraph(g).bytes;
}

async function run(command: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, text: decode(stdout) + decode(stderr) };
}

async function withProgramFile(body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".cfp" });
  try {
    await Deno.writeFile(path, smallProgram());
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

const tests = [...Deno.readDirSync(FOLDER)].filter((f) => f.isFile && f.name.startsWith("test_")).map((f) => f.name)
  .sort();

describe("native tests", () => {
  it("are built", () => {
    assert(tests.includes("test_abi") && tests.length >= 8, `expected the native tests in ${FOLDER}, found ${tests}`);
  });

  for (const name of tests.filter((t) => t !== "test_abi")) {
    it(name, async () => {
      const { code, text } = await run(FOLDER + name, []);
      assertEquals(code, 0, text);
    });
  }

  it("test_abi: a C program runs each kernel alone and one whole program", async () => {
    await withProgramFile(async (path) => {
      const { code, text } = await run(`${FOLDER}test_abi`, [path]);
      assertEquals(code, 0, text);
      assert(!text.includes("no program file"), text);
    });
  });
});

/** CommonJS that both runtimes can run: loads, feeds, runs, fetches, and meets each kind of error. */
const ADDON_SCRIPT = `
const { readFileSync } = require("node:fs");
const [addon, file] = process.argv.slice(-2);
const { Context, abiVersion } = require(addon);
const fails = (f) => { try { f(); return ""; } catch (e) { return e.message; } };
(async () => {
  const context = new Context({ threads: 1 });
  const bytes = new Uint8Array(readFileSync(file));
  const missing = fails(() => context.load(bytes));
  context.setState("w", Float32Array.of(1, 2, 3, 4), [4]);
  const program = context.load(bytes);
  const out = [];
  for (let i = 0; i < 2; i++) {
    program.feed("x", Float32Array.of(10, 20, 30, 40));
    await program.run();
    out.push([...program.fetch("y")]);
  }
  // A program whose context nobody holds.
  const alone = (() => {
    const own = new Context({ threads: 1 });
    own.setState("w", Float32Array.of(1, 2, 3, 4), [4]);
    return own.load(bytes);
  })();
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((done) => setTimeout(done, 5));
  }
  const kept = await (async () => {
    alone.feed("x", Float32Array.of(10, 20, 30, 40));
    await alone.run();
    return [...alone.fetch("y")];
  })().catch((e) => e.message);
  const name = fails(() => program.feed("z", Float32Array.of(1)));
  const size = fails(() => program.feed("x", Float32Array.of(1)));
  const kind = fails(() => new Context({ device: "tpu" }));
  const w = [...context.getState("w")];
  program.close();
  const closed = await program.run().then(() => "", (e) => e.message);
  context.close();
  console.log(JSON.stringify({ abiVersion, missing, out, kept, name, size, kind, w, closed }));
})();
`;

describe("Node-API addon", () => {
  const runtimes: readonly (readonly [string, string, readonly string[]])[] = [["Node", "node", ["--expose-gc"]], [
    "Deno",
    Deno.execPath(),
    ["run", "-A", "--v8-flags=--expose-gc"],
  ]];
  for (const [name, command, args] of runtimes) {
    it(`loads, runs and reads a program in ${name}`, async () => {
      await withProgramFile(async (path) => {
        const script = `${path}.cjs`;
        await Deno.writeTextFile(script, ADDON_SCRIPT);
        try {
          const { code, text } = await run(command, [...args, script, `${BUILD}Release/coopflow.node`, path]);
          assertEquals(code, 0, text);
          const found = JSON.parse(text.trim().split("\n").at(-1)!);
          assertEquals(found.out, [[10, 40, 90, 160], [20, 60, 120, 200]]);
          assertEquals(found.w, [3, 4, 5, 6]);
          assertEquals(found.kept, [10, 40, 90, 160]);
          for (const message of [found.missing, found.name, found.size, found.kind, found.closed]) {
            assert(message !== "", text);
          }
        } finally {
          await Deno.remove(script);
        }
      });
    });
  }
});
