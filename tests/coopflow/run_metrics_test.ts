import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readLastMetrics, readMetrics } from "../../src/coopflow/run_metrics.ts";
import { withFolder } from "../io/support.ts";

const LOG = [
  '{"iteration":1,"a":0.5,"on":true}',
  '{"iteration":2,"a":null,"on":false,"late":7}',
  '{"iteration":2,"warning":"change","message":"m","advice":"x"}',
  '{"iteration":3,"a":2,"late":8}',
  '{"iteration":4,"a"',
];

describe("readMetrics", () => {
  it("gives columns, warnings, and nothing of a torn line", async () => {
    await withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/m`, LOG.join("\n"));
      const { iterations, columns, warnings } = await readMetrics(`${folder}/m`);
      assertEquals(iterations, [1, 2, 3]);
      assertEquals([...columns], [["a", [0.5, NaN, 2]], ["on", [1, 0, NaN]], ["late", [NaN, 7, 8]]]);
      assertEquals(warnings, [{ iteration: 2, message: "m", advice: "x" }]);
      assertEquals((await readMetrics(`${folder}/none`)).iterations, []);
    });
  });
});

describe("readLastMetrics", () => {
  it("finds the last whole line of an iteration, in a long file too", async () => {
    await withFolder(async (folder) => {
      assertEquals(await readLastMetrics(`${folder}/none`), undefined);
      await Deno.writeTextFile(`${folder}/m`, LOG.join("\n"));
      assertEquals(await readLastMetrics(`${folder}/m`), { iteration: 3, a: 2, late: 8 });
      const long = Array.from({ length: 5000 }, (_, i) => `{"iteration":${i}}\n`).join("");
      await Deno.writeTextFile(`${folder}/m`, `${long}{"iteration":5000,"warning":"change"}\n`);
      assertEquals(await readLastMetrics(`${folder}/m`), { iteration: 4999 });
    });
  });
});
