import { assert, assertAlmostEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { PairProducts } from "../../src/coopflow/pair_products.ts";
import { featureSet } from "../../src/metrics/features.ts";
import { subsetKernelDistance } from "../../src/metrics/kernel_distance.ts";
import { manifold, manifoldParts, nearest } from "../../src/metrics/neighbours.ts";
import { exactProducts, PAIR_BLOCK } from "../../src/metrics/products.ts";
import { normals } from "../../src/random.ts";
import { THREADS } from "./native.ts";

/** More vectors than are multiplied at once. */
const [N, D] = [PAIR_BLOCK + 76, 20];
const draws = (name: string, shift = 0) => featureSet(normals(3, name, N * D).map((v) => v + shift), N, D);

describe("products of pairs on a device", () => {
  it("are those in float64 but for rounding, for whole blocks and parts", async () => {
    using pairs = PairProducts.open(THREADS);
    for (const [n, m, d] of [[PAIR_BLOCK, PAIR_BLOCK, 3], [5, 700, 48], [1, 1, 1]] as const) {
      const [x, y] = [normals(1, "x", n * d), normals(1, "y", m * d)];
      const [found, exact] = [await pairs.products(x, y, d), exactProducts(x, y, d)];
      assert(found.length === n * m);
      assert(found.every((value, i) => Math.abs(value - exact[i]!) < 1e-5 * d));
    }
  });

  it("give the same distances and neighbours", async () => {
    using pairs = PairProducts.open(THREADS);
    const { products } = pairs;
    const [a, b] = [draws("a"), draws("b", 0.2)];
    const how = { subsets: 3, size: 300 };
    const [kernel, exact] = [
      await subsetKernelDistance(a, b, { ...how, products }),
      await subsetKernelDistance(a, b, how),
    ];
    assertAlmostEquals(kernel.mean / exact.mean, 1, 1e-4);
    assertAlmostEquals(kernel.deviation / exact.deviation, 1, 1e-4);
    const [rough, fine] = [await nearest(a, b, products), await nearest(a, b)];
    assert(rough.distances.every((distance, i) => Math.abs(distance - fine.distances[i]!) < 1e-5));
    // Of vectors that are in both sets, too.
    assert((await nearest(a, a, products)).distances.every((distance) => distance === 0));
    const [found, expected] = [
      manifold(await manifoldParts(a, b, 5, { products })),
      manifold(await manifoldParts(a, b, 5)),
    ];
    for (const name of ["precision", "recall", "density", "coverage"] as const) {
      assertAlmostEquals(found[name], expected[name], 2e-3);
    }
  });
});
