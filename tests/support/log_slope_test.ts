import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals } from "@std/assert";
import { logSlope } from "./log_slope.ts";

describe("logSlope", () => {
  const law = (power: number, sizes: readonly number[]) =>
    sizes.map((flops) => ({ flops, seconds: 3e-9 * flops ** power }));

  it("is the power of a power law", () => {
    for (const power of [0, 0.5, 1, 1.3]) assertAlmostEquals(logSlope(law(power, [1e6, 2e6, 1e8, 3e9])), power, 1e-12);
  });

  it("is below 1 where a constant dominates, and between two slopes of two laws", () => {
    const points = law(1, [1e6, 1e7, 1e8]).map(({ flops, seconds }) => ({ flops, seconds: seconds + 0.1 }));
    assert(logSlope(points) < 0.6 && logSlope(points) > 0);
  });

  it("of one size is not a number", () => assert(Number.isNaN(logSlope(law(1, [1e6])))));
});
