import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CoopFlowError } from "../../src/errors.ts";
import { removeTemporaries, syncFolder, writeAtomic } from "../../src/io/atomic.ts";
import { namesIn, withFolder } from "./support.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("writeAtomic", () => {
  it("writes bytes, and leaves nothing else", async () => {
    await withFolder(async (folder) => {
      await writeAtomic(`${folder}/a`, bytes("one"));
      assertEquals(await Deno.readTextFile(`${folder}/a`), "one");
      await writeAtomic(`${folder}/a`, bytes("two"));
      assertEquals(await Deno.readTextFile(`${folder}/a`), "two");
      assertEquals(namesIn(folder), ["a"]);
    });
  });

  it("writes piece by piece; the old file is there until the end", async () => {
    await withFolder(async (folder) => {
      await writeAtomic(`${folder}/a`, bytes("old"));
      await writeAtomic(`${folder}/a`, async (file) => {
        assertEquals(file.position, 0);
        await file.write(bytes("new "));
        await file.write(bytes(""));
        await file.write(bytes("text"));
        assertEquals(file.position, 8);
        assertEquals(await Deno.readTextFile(`${folder}/a`), "old");
      });
      assertEquals(await Deno.readTextFile(`${folder}/a`), "new text");
    });
  });

  it("keeps the old file and cleans up when the writer fails", async () => {
    await withFolder(async (folder) => {
      await writeAtomic(`${folder}/a`, bytes("old"));
      const failure = new RangeError("no more");
      const error = await assertRejects(() =>
        writeAtomic(`${folder}/a`, async (file) => {
          await file.write(bytes("half"));
          throw failure;
        })
      );
      assertEquals(error, failure);
      assertEquals(await Deno.readTextFile(`${folder}/a`), "old");
      assertEquals(namesIn(folder), ["a"]);
    });
  });

  it("names path and reason", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/missing/a`;
      const error = await assertRejects(() => writeAtomic(path, bytes("x")), CoopFlowError);
      assertEquals(error.message, `cannot write ${path}: no such file or directory`);
      // A file cannot replace a folder.
      await Deno.mkdir(`${folder}/b`);
      const other = await assertRejects(() => writeAtomic(`${folder}/b`, bytes("x")), CoopFlowError);
      assertStringIncludes(other.message, `cannot write ${folder}/b: `);
      assertEquals(namesIn(folder), ["b"]);
    });
  });

  it("lets several write the same file at once: one of them wins whole", async () => {
    await withFolder(async (folder) => {
      const texts = Array.from({ length: 8 }, (_, i) => String(i).repeat(1000));
      await Promise.all(texts.map((text) => writeAtomic(`${folder}/a`, bytes(text))));
      assertEquals(texts.includes(await Deno.readTextFile(`${folder}/a`)), true);
      assertEquals(namesIn(folder), ["a"]);
    });
  });
});

describe("removeTemporaries", () => {
  it("removes what a killed writer left, and nothing else", async () => {
    await withFolder(async (folder) => {
      const left = [".model.safetensors.123-4.tmp", ".a.1-1.tmp"];
      const kept = ["a", "b.tmp", ".hidden"];
      for (const name of [...left, ...kept]) await Deno.writeTextFile(`${folder}/${name}`, "");
      assertEquals(await removeTemporaries(folder), left.toSorted());
      assertEquals(namesIn(folder), kept.toSorted());
    });
  });

  it("recognises the names that writeAtomic uses", async () => {
    await withFolder(async (folder) => {
      await writeAtomic(`${folder}/a b.json`, async () => {
        const [name = ""] = namesIn(folder);
        assertEquals(/^\..*\.\d+-\d+\.tmp$/.test(name), true);
        await syncFolder(folder);
      });
    });
  });
});
