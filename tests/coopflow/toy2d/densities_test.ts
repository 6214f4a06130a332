import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { densities, DENSITY_NAMES, drawPoints, SQUARE } from "../../../src/coopflow/toy2d/densities.ts";
import { binned, BINS, CELLS, gridPoints, histogram, truthOnGrid } from "../../../src/coopflow/toy2d/evaluate.ts";

const AREA = ((SQUARE.high - SQUARE.low) / CELLS) ** 2;
const COUNT = 20_000;

describe("densities of the plane", () => {
  for (const name of DENSITY_NAMES) {
    const density = densities[name];

    it(`${name}: the density adds up to 1 in the square`, () => {
      const grid = gridPoints();
      let total = 0;
      for (let i = 0; i < grid.length; i += 2) total += AREA * density.density(grid[i]!, grid[i + 1]!);
      assertAlmostEquals(total, 1, 2e-4);
    });

    it(`${name}: points are distributed as the density says`, () => {
      const points = drawPoints(density, COUNT, 5, "test");
      const expected = binned(truthOnGrid(density)).map((mass) => COUNT * mass);
      const counts = histogram(points);
      // Pearson's statistic over bins with enough points, the rest of them as one more bin.
      let [statistic, bins, restExpected, rest] = [0, 0, 0, COUNT];
      for (let i = 0; i < BINS * BINS; i++) {
        if (expected[i]! < 10) restExpected += expected[i]!;
        else {
          statistic += (counts[i]! - expected[i]!) ** 2 / expected[i]!;
          rest -= counts[i]!;
          bins++;
        }
      }
      if (restExpected >= 10) statistic += (rest - restExpected) ** 2 / restExpected;
      else assert(rest < 30, `${rest} points where ${restExpected} are expected`);
      // A χ² of k degrees of freedom has mean k and standard deviation √2k; the grid's midpoint rule adds a little.
      assert(Math.abs(statistic - bins) < 5 * Math.sqrt(2 * bins), `χ² of ${bins} bins: ${statistic}`);
    });
  }

  it("draws depend on seed, stream and iteration alone", () => {
    const draw = (seed: number, stream: string, iteration: number) =>
      drawPoints(densities.rings, 8, seed, stream, iteration);
    assertEquals(draw(1, "a", 2), draw(1, "a", 2));
    for (const other of [draw(2, "a", 2), draw(1, "b", 2), draw(1, "a", 3)]) {
      assert(other.every((value, i) => value !== draw(1, "a", 2)[i]));
    }
  });
});
