import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { auroc } from "../../src/metrics/auroc.ts";
import { uniforms } from "../../src/random.ts";

describe("auroc", () => {
  it("is 1 for sets apart, 0 the other way round, ½ for equal ones", () => {
    assertEquals(auroc([3, 4], [1, 2, 2]), 1);
    assertEquals(auroc([1, 2], [3]), 0);
    assertEquals(auroc([1, 1, 1], [1, 1]), 0.5);
    assertEquals(auroc([Infinity], [-Infinity, 5]), 1);
  });

  it("counts the pairs in order, ties half", () => {
    const [a, b] = [40, 63].map((n, k) => uniforms(k, "auroc", n).map((u) => Math.floor(8 * u + k))) as [
      Float32Array,
      Float32Array,
    ];
    let pairs = 0;
    for (const x of a) for (const y of b) pairs += x > y ? 1 : x === y ? 0.5 : 0;
    assertAlmostEquals(auroc(a, b), pairs / (40 * 63), 1e-12);
  });

  it("refuses no scores and no numbers", () => {
    assertThrows(() => auroc([], [1]), DataError, "expected scores of both sets, got 0 and 1");
    assertThrows(() => auroc([NaN], [1]), DataError, "got NaN");
  });
});
