import { existsSync } from "node:fs";
import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertRejects } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { readSafetensors, toFloat64 } from "../../src/io/safetensors.ts";
import { type FeatureSet, featureSet } from "../../src/metrics/features.ts";
import { kernelDistance, subsetKernelDistance } from "../../src/metrics/kernel_distance.ts";
import { normals } from "../../src/random.ts";

const file = new URL("../../../shared/data/metrics.safetensors", import.meta.url);

function draws(name: string, n: number, d: number, shift = 0): FeatureSet {
  return featureSet(normals(3, name, n * d).map((value) => value + shift), n, d);
}

/** The definition, pair by pair. */
function plain(a: FeatureSet, b: FeatureSet): number {
  const rows = (set: FeatureSet): number[][] => Array.from({ length: set.count }, (_, i) => [...set.read(i, 1)]);
  const [x, y] = [rows(a), rows(b)];
  const k = (u: number[], v: number[]): number =>
    (u.reduce((sum, value, j) => sum + value * v[j]!, 0) / u.length + 1) ** 3;
  const own = (set: number[][]): number =>
    set.flatMap((u, i) => set.map((v, j) => i === j ? 0 : k(u, v))).reduce((p, q) => p + q, 0) /
    (set.length * (set.length - 1));
  const cross = x.flatMap((u) => y.map((v) => k(u, v))).reduce((p, q) => p + q, 0) / (x.length * y.length);
  return own(x) + own(y) - 2 * cross;
}

describe("kernelDistance", () => {
  it("is the definition, across block borders", async () => {
    for (const [n, m, d] of [[2, 2, 1], [5, 9, 3], [257, 300, 4]] as const) {
      const [a, b] = [draws("a", n, d), draws("b", m, d, 0.5)];
      assertAlmostEquals(await kernelDistance(a, b), plain(a, b), 1e-9 * Math.abs(plain(a, b)) + 1e-12);
    }
  });

  it("is the one that was computed elsewhere", { ignore: !existsSync(file) }, async () => {
    const { tensors, metadata } = await readSafetensors(file.pathname);
    const set = (name: string): FeatureSet => {
      const tensor = tensors.get(name)!;
      return featureSet(toFloat64(tensor), tensor.shape[0]!, tensor.shape[1]!);
    };
    const expected = Number(metadata.get("kid_unbiased_a_b"));
    assertAlmostEquals(await kernelDistance(set("a"), set("b")), expected, 1e-8 * expected);
  });

  it("refuses what has no distance", async () => {
    await assertRejects(
      () => kernelDistance(draws("a", 1, 2), draws("b", 5, 2)),
      DataError,
      "at least 2 samples, got 1",
    );
    await assertRejects(
      () => kernelDistance(draws("a", 5, 2), draws("b", 5, 3)),
      DataError,
      "one dimension, got 2 and 3",
    );
  });
});

describe("subsetKernelDistance", () => {
  it("is near the distance of the whole sets, and 0 between sets of one distribution within its error", async () => {
    const [a, b, c] = [draws("a", 600, 4), draws("b", 600, 4), draws("c", 600, 4, 1)];
    const same = await subsetKernelDistance(a, b, { subsets: 50, size: 100 });
    assert(Math.abs(same.mean) < 3 * same.deviation, `${same.mean} ± ${same.deviation}`);
    const apart = await subsetKernelDistance(a, c, { subsets: 50, size: 100 });
    const whole = await kernelDistance(a, c);
    assert(Math.abs(apart.mean - whole) < apart.deviation, `${apart.mean} ± ${apart.deviation}, ${whole}`);
    assert(apart.mean > 10 * Math.abs(same.mean));
  });

  it("takes smaller subsets where a set is small", async () => {
    const { size, subsets } = await subsetKernelDistance(draws("a", 30, 2), draws("b", 50, 2), { subsets: 3 });
    assert(size === 30 && subsets === 3);
  });
});
