import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { type FeatureSet, featureSet } from "../../src/metrics/features.ts";
import { manifold, manifoldParts, nearest, neighbourRadii } from "../../src/metrics/neighbours.ts";
import { normals } from "../../src/random.ts";

const set = (...rows: readonly (readonly number[])[]): FeatureSet =>
  featureSet(Float64Array.from(rows.flat()), rows.length, rows[0]!.length);
const draws = (name: string, n: number, shift = 0): FeatureSet =>
  featureSet(normals(5, name, 2 * n).map((value) => value + shift), n, 2);

describe("nearest", () => {
  it("finds the closest vector and its distance", async () => {
    const { distances, indices } = await nearest(set([0, 0], [4, 3]), set([9, 9], [3, 4], [1, 0]));
    assertEquals([...indices], [2, 1]);
    assertAlmostEquals(distances[0]!, 1, 1e-12);
    assertAlmostEquals(distances[1]!, Math.SQRT2, 1e-12);
  });

  it("agrees with a plain search across block borders", async () => {
    const [queries, among] = [draws("q", 300), draws("s", 530)];
    const { distances } = await nearest(queries, among);
    for (const i of [0, 255, 256, 299]) {
      const [x = 0, y = 0] = queries.read(i, 1);
      const all = Array.from({ length: 530 }, (_, j) => {
        const [u = 0, v = 0] = among.read(j, 1);
        return Math.hypot(x - u, y - v);
      });
      assertAlmostEquals(distances[i]!, Math.min(...all), 1e-6);
    }
  });
});

describe("neighbourRadii", () => {
  it("is the squared distance of the k-th nearest other vector", async () => {
    assertEquals([...await neighbourRadii(set([0], [1], [3], [7]), 2)], [9, 4, 9, 36]);
  });

  it("needs more than k vectors", async () => {
    await assertRejects(() => neighbourRadii(set([0], [1], [2]), 3), DataError, "need more than 3 samples, got 3");
  });
});

describe("manifold", () => {
  it("counts by hand: one of two generated vectors is real, half of the reals are found", async () => {
    // Real balls of k = 1: 0 and 1 reach 1 far, 10 and 12 reach 2 far. Generated 0.5 lies in two of them, 100 in none.
    // Generated balls reach 99.5 far and hold everything.
    const parts = await manifoldParts(set([0.5], [100]), set([0], [1], [10], [12]), 1);
    assertEquals(manifold(parts), { precision: 0.5, recall: 1, density: 1, coverage: 0.5, k: 1 });
  });

  it("is near 1 for sets of one distribution, and tells a shift from a collapse", async () => {
    const real = draws("r", 400);
    const same = manifold(await manifoldParts(draws("g", 400), real, 5));
    for (const value of [same.precision, same.recall, same.coverage]) assert(value > 0.9, JSON.stringify(same));
    assertAlmostEquals(same.density, 1, 0.15);
    const shifted = manifold(await manifoldParts(draws("g", 400, 10), real, 5));
    assertEquals([shifted.precision, shifted.density, shifted.coverage], [0, 0, 0]);
    const point = featureSet(normals(6, "p", 800).map((value) => value * 0.01), 400, 2);
    const collapsed = manifold(await manifoldParts(point, real, 5));
    assert(collapsed.precision > 0.9 && collapsed.recall < 0.1 && collapsed.coverage < 0.1, JSON.stringify(collapsed));
  });

  it("resamples by indices", async () => {
    const parts = await manifoldParts(set([0.5], [100]), set([0], [1], [10], [12]), 1);
    assertEquals(manifold(parts, [0, 0], [0, 2, 2, 2]), { precision: 1, recall: 1, density: 2, coverage: 0.25, k: 1 });
  });
});
