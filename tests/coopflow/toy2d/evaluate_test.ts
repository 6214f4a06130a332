import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { densities, drawPoints, SQUARE } from "../../../src/coopflow/toy2d/densities.ts";
import {
  binned,
  CELLS,
  divergence,
  gridPoints,
  histogram,
  logMasses,
  normalised,
  sampleDivergence,
  truthOnGrid,
} from "../../../src/coopflow/toy2d/evaluate.ts";

/** log N(x; (m, 0), s²·I) at the centres of the cells. */
function logNormal(m: number, s: number): Float64Array {
  const grid = gridPoints();
  return Float64Array.from({ length: CELLS * CELLS }, (_, i) => {
    const [x, y] = [grid[2 * i]! - m, grid[2 * i + 1]!];
    return -0.5 * (x * x + y * y) / (s * s) - Math.log(2 * Math.PI * s * s);
  });
}

describe("comparison with the truth", () => {
  it("has the closed forms of two normal distributions", () => {
    const [m, s, t] = [0.25, 0.5, 0.6];
    const p = logMasses(logNormal(0, s)).map(Math.exp);
    const { kl } = divergence(p, logMasses(logNormal(m, t)));
    assertAlmostEquals(kl, 2 * Math.log(t / s) + (s / t) ** 2 - 1 + 0.5 * (m / t) ** 2, 1e-6);
    // Of one standard deviation, total variation is 2Φ(m/2s) − 1; Φ(0.25) = 0.598706.
    assertAlmostEquals(divergence(p, logMasses(logNormal(m, s))).tv, 2 * 0.5987063 - 1, 1e-4);
    const same = divergence(p, logMasses(logNormal(0, s)));
    assertAlmostEquals(same.kl, 0, 1e-9);
    assertAlmostEquals(same.tv, 0, 1e-9);
  });

  it("does not care what is added to an energy", () => {
    const truth = truthOnGrid(densities["two-moons"]);
    const f = truth.map((mass) => Math.log(mass + 1e-30) + 300);
    const { kl, tv } = divergence(truth, normalised(f));
    assertAlmostEquals(kl, 0, 1e-6);
    assertAlmostEquals(tv, 0, 1e-6);
  });

  it("counts a flow's mass outside of the square against it", () => {
    const p = Float64Array.of(0.5, 0.5);
    const { kl, tv } = divergence(p, [Math.log(0.4), Math.log(0.4)]);
    assertAlmostEquals(kl, Math.log(0.5 / 0.4), 1e-12);
    assertAlmostEquals(tv, 0.2, 1e-12);
  });

  it("cells, bins and pictures have the same order: rows from the top", () => {
    const grid = gridPoints(4);
    assertEquals([...grid.subarray(0, 4)], [-3, 3, -1, 3]);
    assertEquals([...grid.subarray(30)], [3, -3]);
    for (let i = 0; i < 16; i++) {
      const counts = histogram(grid.subarray(2 * i, 2 * i + 2), 4);
      assertEquals(counts.indexOf(1), i);
    }
    assertEquals(histogram([SQUARE.high + 1, 0, 0, SQUARE.low - 1], 4).reduce((a, b) => a + b, 0), 0);
    assertEquals(histogram([SQUARE.high, SQUARE.low], 4).indexOf(1), 15);
    const mass = truthOnGrid(densities.checkerboard);
    assertAlmostEquals(binned(mass).reduce((a, b) => a + b, 0), 1, 1e-12);
    assertEquals(binned(Float64Array.from({ length: 16 }, (_, i) => i), 2)[1], 2 + 3 + 6 + 7);
  });

  it("points of the truth are at the distance that counting makes, others farther", () => {
    const truth = truthOnGrid(densities["eight-gaussians"]);
    const n = 20_000;
    const own = sampleDivergence(truth, drawPoints(densities["eight-gaussians"], n, 1, "test"));
    const occupied = binned(truth).filter((mass) => mass * n > 1).length;
    // Each occupied bin has about 1/(2n) nats.
    assert(own.kl > 0 && own.kl < 2 * occupied / n, `${own.kl} with ${occupied} bins`);
    assert(own.tv < 0.1);
    const other = sampleDivergence(truth, drawPoints(densities["two-moons"], n, 1, "test"));
    assert(other.kl > 1 && other.tv > 0.4);
  });
});
