import { existsSync } from "node:fs";
import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DataError } from "../../src/errors.ts";
import { readSafetensors, toFloat64 } from "../../src/io/safetensors.ts";
import { frechetDistance, type Moments, momentsOf } from "../../src/metrics/frechet.ts";
import { normals } from "../../src/random.ts";

const file = new URL("../../../shared/data/metrics.safetensors", import.meta.url);

/** Moments of given values, as if estimated. */
function gaussian(mean: readonly number[], covariance: readonly number[]): Moments {
  const d = mean.length;
  return { count: 10, dimension: d, mean: Float64Array.from(mean), covariance: Float64Array.from(covariance) };
}

/** Moments of n pseudo-random vectors, scaled differently in each direction. */
function random(seed: number, n: number, d: number): Moments {
  const features = Float64Array.from(normals(seed, "features", n * d), (value, i) => value * (1 + i % d) + seed);
  return momentsOf(features, n, d);
}

describe("momentsOf", () => {
  it("is the mean and the covariance over n - 1", () => {
    const { mean, covariance, count, dimension } = momentsOf(Float32Array.of(1, 10, 2, 20, 6, 0), 3, 2);
    assertEquals([count, dimension, ...mean], [3, 2, 3, 10]);
    // Deviations (-2, 0), (-1, 10), (3, -10).
    assertEquals([...covariance], [7, -20, -20, 100]);
  });

  it("agrees with a plain double loop, across block borders", () => {
    for (const n of [2, 63, 64, 65, 200]) {
      const d = 5;
      const x = normals(n, "x", n * d);
      const { mean, covariance } = momentsOf(x, n, d);
      for (let j = 0; j < d; j++) {
        for (let k = 0; k < d; k++) {
          let sum = 0;
          for (let i = 0; i < n; i++) {
            sum += ((x[i * d + j] ?? 0) - (mean[j] ?? 0)) * ((x[i * d + k] ?? 0) - (mean[k] ?? 0));
          }
          assertAlmostEquals(covariance[j * d + k] ?? NaN, sum / (n - 1), 1e-12);
        }
      }
    }
  });

  it("keeps its accuracy far from zero", () => {
    const { covariance } = momentsOf(Float64Array.of(1e8 + 1, 1e8 + 2, 1e8 + 3), 3, 1);
    assertEquals(covariance[0], 1);
  });

  it("refuses too few samples, wrong sizes and what is not finite", () => {
    assertThrows(() => momentsOf(new Float32Array(2), 1, 2), DataError, "at least 2 samples, got 1");
    assertThrows(() => momentsOf(new Float32Array(5), 2, 2), DataError, "expected 2×2 = 4 features, got 5");
    const bad = Float32Array.of(0, 1, 2, Infinity);
    assertThrows(() => momentsOf(bad, 2, 2), DataError, "found Infinity in sample 1, feature 1");
  });
});

describe("frechetDistance", () => {
  it("has the closed form of one dimension", () => {
    const number = fc.double({ min: -100, max: 100, noNaN: true });
    const deviation = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(fc.property(number, deviation, number, deviation, (m, s, k, t) => {
      const distance = frechetDistance(gaussian([m], [s * s]), gaussian([k], [t * t]));
      const scale = (m - k) ** 2 + s * s + t * t;
      assertAlmostEquals(distance, (m - k) ** 2 + (s - t) ** 2, 1e-14 * scale + 1e-300);
    }));
  });

  it("has the closed form of two dimensions, in which nothing commutes", () => {
    // Tr (AB)^½ = √(Tr AB + 2 √(det A det B)) for 2×2 matrices.
    const a = [2, 1, 1, 3];
    const b = [5, -2, -2, 1];
    const trace = 2 * 5 + 1 * -2 + 1 * -2 + 3 * 1;
    const root = Math.sqrt(trace + 2 * Math.sqrt(5 * 1));
    assertAlmostEquals(frechetDistance(gaussian([1, 2], a), gaussian([0, 0], b)), 5 + 5 + 6 - 2 * root, 1e-13);
  });

  it("takes singular covariances", () => {
    // Lines along two axes share nothing; along one axis they are one-dimensional.
    assertAlmostEquals(frechetDistance(gaussian([0, 0], [4, 0, 0, 0]), gaussian([0, 0], [0, 0, 0, 9])), 13, 1e-13);
    assertAlmostEquals(frechetDistance(gaussian([0, 0], [4, 0, 0, 0]), gaussian([0, 0], [9, 0, 0, 0])), 1, 1e-13);
    assertEquals(frechetDistance(gaussian([3, 0], [0, 0, 0, 0]), gaussian([0, 4], [0, 0, 0, 0])), 25);
    const few = random(1, 10, 30);
    assertAlmostEquals(frechetDistance(few, few) / trace(few), 0, 1e-14);
  });

  it("is 0 to itself, symmetric, and grows by the square of a shift", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 2, max: 40 }), (d, n) => {
        const a = random(1, n, d);
        const b = random(2, n + 3, d);
        const scale = trace(a) + trace(b);
        assertAlmostEquals(frechetDistance(a, a) / scale, 0, 1e-13);
        assertAlmostEquals((frechetDistance(a, b) - frechetDistance(b, a)) / scale, 0, 1e-12);
        const shifted: Moments = { ...a, mean: a.mean.map((value) => value + 3) };
        assertAlmostEquals(frechetDistance(a, shifted) / (9 * d), 1, 1e-12 * Math.max(1, scale));
      }),
      { numRuns: 40 },
    );
  });

  it("refuses features of two dimensions", () => {
    assertThrows(() => frechetDistance(random(1, 5, 2), random(1, 5, 3)), DataError, "one dimension, got 2 and 3");
  });

  const options = { ignore: !existsSync(file), reason: "needs ../shared/data/metrics.safetensors" };
  it("agrees with scipy in float64, one covariance singular", options, async () => {
    const { tensors, metadata } = await readSafetensors(file.pathname);
    const moments = (name: string): Moments => {
      const tensor = tensors.get(name);
      assert(tensor !== undefined);
      return momentsOf(toFloat64(tensor), tensor.shape[0] ?? 0, tensor.shape[1] ?? 0);
    };
    for (const [other, key] of [["b", "frechet_a_b"], ["low_rank", "frechet_a_low_rank"]] as const) {
      const expected = Number(metadata.get(key));
      assertAlmostEquals(frechetDistance(moments("a"), moments(other)) / expected, 1, 1e-12);
      assertAlmostEquals(frechetDistance(moments(other), moments("a")) / expected, 1, 1e-12);
    }
  });
});

function trace({ covariance, dimension }: Moments): number {
  let sum = 0;
  for (let j = 0; j < dimension; j++) sum += covariance[j * dimension + j] ?? 0;
  return sum;
}
