import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { CoopFlowError, DataError } from "../../src/errors.ts";
import { appendJsonLine, cutJsonLines } from "../../src/io/json_lines.ts";
import { namesIn, withFolder } from "./support.ts";

describe("appendJsonLine", () => {
  it("appends one line a call", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      await appendJsonLine(path, { iteration: 1, text: "a\nb", loss: NaN });
      await appendJsonLine(path, { iteration: 2, nested: { list: [1, true, null] } }, { sync: true });
      assertEquals(
        await Deno.readTextFile(path),
        '{"iteration":1,"text":"a\\nb","loss":null}\n{"iteration":2,"nested":{"list":[1,true,null]}}\n',
      );
    });
  });

  it("names path and reason", async () => {
    const error = await assertRejects(() => appendJsonLine("/nowhere/log", {}), CoopFlowError);
    assertEquals(error.message, "cannot append to /nowhere/log: no such file or directory");
  });
});

describe("cutJsonLines", () => {
  const line = (iteration: number) => `{"iteration":${iteration},"loss":0.5}\n`;

  it("keeps the lines up to an iteration, and drops a torn last one", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      await Deno.writeTextFile(path, line(1) + line(2) + line(3) + '{"iteration":4,"lo');
      assertEquals(await cutJsonLines(path, 2), { kept: 2, removed: 2 });
      assertEquals(await Deno.readTextFile(path), line(1) + line(2));
      assertEquals(namesIn(folder), ["log.jsonl"]);
    });
  });

  it("drops what was torn just before its newline, so that the next line starts fresh", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      await Deno.writeTextFile(path, line(1) + line(2).trimEnd());
      assertEquals(await cutJsonLines(path, 9), { kept: 1, removed: 1 });
      assertEquals(await Deno.readTextFile(path), line(1));
    });
  });

  it("cuts at any byte to whole lines", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      const whole = [0, 1, 2, 3, 4].map(line).join("");
      await fc.assert(
        fc.asyncProperty(fc.nat(whole.length), fc.nat(6), async (bytes, last) => {
          await Deno.writeTextFile(path, whole.slice(0, bytes));
          await cutJsonLines(path, last);
          const complete = whole.slice(0, bytes).split("\n").length - 1;
          const kept = [0, 1, 2, 3, 4].filter((i) => i < complete && i <= last);
          assertEquals(await Deno.readTextFile(path), kept.map(line).join(""));
        }),
        { numRuns: 50 },
      );
    });
  });

  it("keeps a line without iteration with the line before it", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      const note = '{"event":"note"}\n';
      await Deno.writeTextFile(path, note + line(1) + note + line(2) + note);
      assertEquals(await cutJsonLines(path, 1), { kept: 3, removed: 2 });
      assertEquals(await Deno.readTextFile(path), note + line(1) + note);
    });
  });

  it("takes a missing file for an empty one", async () => {
    await withFolder(async (folder) => {
      assertEquals(await cutJsonLines(`${folder}/none`, 5), { kept: 0, removed: 0 });
      assertEquals(namesIn(folder), []);
    });
  });

  it("names a damaged line before the last, and changes nothing", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/log.jsonl`;
      for (const bad of ["oops", "3", "[1]", "null"]) {
        const text = line(1) + bad + "\n" + line(2);
        await Deno.writeTextFile(path, text);
        await assertRejects(() => cutJsonLines(path, 1), DataError, `${path}, line 2: expected a JSON object, found`);
        assertEquals(await Deno.readTextFile(path), text);
      }
    });
  });
});
