import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects } from "@std/assert";
import { CoopFlowError } from "../../src/errors.ts";
import { readSafetensors, tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { isWritten, type StreamContent, TensorStream } from "../../src/io/safetensors_stream.ts";
import { namesIn, withFolder } from "./support.ts";

const CONTENT: StreamContent = {
  rows: new Map([["a", [2, 3]], ["b", [1]]]),
  count: 5,
  metadata: new Map([["seed", "1"]]),
};

/** Rows `from` … `to` − 1 of both tensors. */
function rows(from: number, to: number): Map<string, Float32Array> {
  const values = (n: number): Float32Array => Float32Array.from({ length: (to - from) * n }, (_, i) => from * n + i);
  return new Map([["a", values(6)], ["b", values(1)]]);
}

describe("TensorStream", () => {
  it("writes in parts what writing at once does", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/x.safetensors`;
      {
        await using stream = await TensorStream.open(path, CONTENT);
        assertEquals(stream.done, 0);
        await stream.write(rows(0, 2));
      }
      assertEquals(await isWritten(path, CONTENT), false);
      assertEquals(namesIn(folder), ["x.safetensors.part"]);
      {
        await using stream = await TensorStream.open(path, CONTENT);
        assertEquals(stream.done, 2);
        await stream.write(rows(2, 5));
        assertEquals(await stream.read("b", 1, 3), Float32Array.of(1, 2, 3));
        await stream.finish();
      }
      assertEquals(namesIn(folder), ["x.safetensors"]);
      assertEquals(await isWritten(path, CONTENT), true);
      const all = rows(0, 5);
      const tensors = new Map([["a", tensorOf([5, 2, 3], all.get("a")!)], ["b", tensorOf([5, 1], all.get("b")!)]]);
      await writeSafetensors(`${folder}/y.safetensors`, tensors, CONTENT.metadata);
      assertEquals(await Deno.readFile(path), await Deno.readFile(`${folder}/y.safetensors`));
      assertEquals((await readSafetensors(path)).tensors.get("a")?.shape, [5, 2, 3]);
    });
  });

  it("goes on after an end at any moment, and refuses what is something else", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/x.safetensors`;
      const part = `${path}.part`;
      {
        await using stream = await TensorStream.open(path, CONTENT);
        await stream.write(rows(0, 5));
      }
      const full = await Deno.readFile(part);
      const open = async (bytes: Uint8Array, content = CONTENT): Promise<number> => {
        await Deno.writeFile(part, bytes);
        await using stream = await TensorStream.open(path, content);
        return stream.done;
      };
      assertEquals(await open(full), 5);
      assertEquals(await open(full.subarray(0, -8)), 5); // while it got its name
      for (const size of [0, 5, 8]) assertEquals(await open(full.subarray(0, size)), 0); // while it was made
      const bad = full.slice();
      bad[full.length - 8] = 6;
      for (const bytes of [bad, full.subarray(0, -9), new TextEncoder().encode("a text")]) {
        await assertRejects(() => open(bytes), CoopFlowError, "expected what the same command left unfinished");
        assertEquals(await Deno.readFile(part), bytes.slice());
      }
      await assertRejects(() => open(full, { ...CONTENT, count: 6 }), CoopFlowError, "found something else");
    });
  });
});
