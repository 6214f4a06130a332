import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals } from "@std/assert";
import { importanceWeighted } from "../../src/coopflow/density.ts";

describe("importanceWeighted", () => {
  it("is −log₂ of the mean likelihood, per dimension", () => {
    const likelihoods = [1 / 4, 1 / 16, 1 / 64];
    const bits = likelihoods.map((q) => -Math.log2(q) / 3);
    const mean = likelihoods.reduce((a, b) => a + b, 0) / 3;
    assertAlmostEquals(importanceWeighted(bits, 3), -Math.log2(mean) / 3, 1e-12);
    assertAlmostEquals(importanceWeighted([1.5], 7), 1.5, 1e-12);
  });

  it("takes likelihoods that no number can hold", () => {
    const bits = importanceWeighted([3.25, 3.5], 3072);
    assertAlmostEquals(bits, 3.25 + 1 / 3072, 1e-9);
    assert(Number.isFinite(importanceWeighted([1000, 2000], 3072)));
  });
});
