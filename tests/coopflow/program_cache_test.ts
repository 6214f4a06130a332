import { pathToFileURL } from "node:url";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fingerprint } from "../../src/compile/fingerprint.ts";
import { compilerIdentity, loadGraph } from "../../src/coopflow/program_cache.ts";
import { constant, feed, mul, tanh } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Device } from "../../src/runtime/device.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";

/** y = tanh(factor · c · x), or without tanh. */
function graph(factor: number, values: readonly number[], curved = true): Graph {
  const g = new Graph();
  const scaled = mul(mul(feed(g, "x", [2]), constant(g, Float32Array.from(values), [2])), factor);
  g.fetch("y", curved ? tanh(scaled) : scaled);
  return g;
}

const X = Float32Array.of(0.5, -1);

async function evaluate(device: Device, cache: string | null): Promise<number[]> {
  using program = await loadGraph(device, graph(2, [3, 4], false), { cache });
  const { y } = await program.run({ x: X });
  return [...y!];
}

describe("program cache", () => {
  it("keeps a program and loads it again, with the same results as none", async () => {
    await withFolder(async (folder) => {
      using device = Device.open(THREADS);
      const cache = `${folder}/deep/cache`;
      assertEquals(await evaluate(device, null), [3, -8]);
      assertEquals(await evaluate(device, cache), [3, -8]);
      const [name] = namesIn(cache);
      const before = await Deno.stat(`${cache}/${name}`);
      assertEquals(await evaluate(device, cache), [3, -8]);
      assertEquals(namesIn(cache), [name]);
      assertEquals((await Deno.stat(`${cache}/${name}`)).ino, before.ino, "the second start rewrote the file");
    });
  });

  it("compiles anew what is corrupt, torn or empty", async () => {
    await withFolder(async (folder) => {
      using device = Device.open(THREADS);
      await evaluate(device, folder);
      const path = `${folder}/${namesIn(folder)[0]}`;
      const good = await Deno.readFile(path);
      const altered = good.slice();
      altered[good.length - 1]! ^= 1;
      for (const bad of [altered, good.slice(0, 100), new Uint8Array(0)]) {
        await Deno.writeFile(path, bad);
        assertEquals(await evaluate(device, folder), [3, -8]);
        assertEquals(await Deno.readFile(path), good);
      }
    });
  });

  it("knows an edited compiler from the one that wrote", async () => {
    await withFolder(async (folder) => {
      const sources = pathToFileURL(`${folder}/`);
      for (const room of ["graph", "compile"]) await Deno.mkdir(`${folder}/${room}`);
      const identities: string[] = [];
      for (const text of ["a", "b", "a"]) {
        await Deno.writeTextFile(`${folder}/compile/fuse.ts`, text);
        identities.push(await compilerIdentity(sources));
      }
      assertNotEquals(identities[0], identities[1]);
      assertEquals(identities[0], identities[2]);
      await Deno.writeTextFile(`${folder}/graph/ops.ts`, "");
      assertNotEquals(await compilerIdentity(sources), identities[0]);
      assertNotEquals(await compilerIdentity(), identities[0]);
    });
  });

  it("does without a folder that can't be written", async () => {
    await withFolder(async (folder) => {
      using device = Device.open(THREADS);
      await Deno.writeTextFile(`${folder}/file`, "");
      assertEquals(await evaluate(device, `${folder}/file/cache`), [3, -8]);
    });
  });

  it("tells graphs apart by expressions, constants, options and salt, and nothing else", () => {
    const base = fingerprint(graph(2, [3, 4]), {}, "");
    assertEquals(fingerprint(graph(2, [3, 4]), {}, ""), base);
    const others = [
      fingerprint(graph(2.5, [3, 4]), {}, ""),
      fingerprint(graph(2, [3, 5]), {}, ""),
      fingerprint(graph(2, [3, 4], false), {}, ""),
      fingerprint(graph(2, [3, 4]), { winograd: false }, ""),
      fingerprint(graph(2, [3, 4]), {}, "other"),
    ];
    for (const other of others) assertNotEquals(other, base);
    assert(new Set(others).size === others.length);
  });
});
