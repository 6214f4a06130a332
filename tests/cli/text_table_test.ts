import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { markdownTable, median, textTable } from "../../src/cli/text_table.ts";

describe("textTable", () => {
  it("aligns the first column to the left and the others to the right", () => {
    assertEquals(textTable(["", "ms"], [["a", "1.00"], ["longer", "100.00"]]), [
      "            ms",
      "a         1.00",
      "longer  100.00",
    ]);
  });
});

describe("markdownTable", () => {
  it("does the same in Markdown", () => {
    assertEquals(markdownTable(["x", "ms"], [["a", "1"]]), ["| x | ms |", "| --- | ---: |", "| a | 1 |"]);
  });
});

describe("median", () => {
  it("of odd, even and no counts", () => {
    assertEquals(median([3, 1, 2]), 2);
    assertEquals(median([4, 1, 2, 10]), 3);
    assertEquals(median([5]), 5);
    assert(Number.isNaN(median([])));
  });
});
