import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { readAll } from "../../src/data/dataset.ts";
import { digits } from "../../src/data/digits.ts";

describe("digits", () => {
  it("are 1,500 + 297 images of 8×8 with 17 levels", async () => {
    const { train, heldout } = await digits();
    assertEquals([train.count, heldout.count], [1500, 297]);
    for (const set of [train, heldout]) {
      assertEquals([set.height, set.width, set.channels, set.levels], [8, 8, 1, 17]);
      const values = readAll(set);
      assert(values.every((value) => Number.isInteger((value + 1) * 8) && value >= -1 && value <= 1));
      assert(values.includes(-1) && values.includes(1));
    }
  });

  it("are all different images of one set", async () => {
    const { train, heldout } = await digits();
    const images = new Set<string>();
    for (const set of [train, heldout]) {
      const values = readAll(set);
      for (let i = 0; i < set.count; i++) images.add(values.subarray(i * 64, (i + 1) * 64).join());
    }
    assertEquals(images.size, 1797);
  });
});
