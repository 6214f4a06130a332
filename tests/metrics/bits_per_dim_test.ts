import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { bitsPerDim } from "../../src/metrics/bits_per_dim.ts";

describe("bitsPerDim", () => {
  it("is 8 for the uniform distribution over 256 levels", () => {
    assertAlmostEquals(bitsPerDim(3072 * Math.log(256), 3072), 8, 1e-12);
    assertEquals(bitsPerDim(0, 64), 0);
  });

  it("passes on what is not finite, and refuses wrong sizes", () => {
    assertEquals(bitsPerDim(NaN, 64), NaN);
    for (const bad of [0, -1, 0.5, NaN]) assertThrows(() => bitsPerDim(1, bad), DataError, "positive number");
  });
});
