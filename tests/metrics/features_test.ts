import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { FeatureFile, featureSet, firstOf } from "../../src/metrics/features.ts";
import { joinedMoments, meanOf, momentsOf, momentsOfSet, sumsOf } from "../../src/metrics/moments.ts";
import { interval, meanInterval, resample } from "../../src/metrics/bootstrap.ts";
import { normals } from "../../src/random.ts";

describe("FeatureFile", () => {
  it("gives back what was appended, in any order, and moments of it", () => {
    const values = normals(1, "x", 700 * 5);
    using file = FeatureFile.create(5);
    for (let row = 0; row < 700; row += 100) file.append(values.subarray(row * 5, (row + 100) * 5));
    assertEquals(file.count, 700);
    assertEquals(file.read(640, 60), values.slice(640 * 5));
    assertEquals(file.read(3, 2), values.slice(15, 25));
    assertEquals(momentsOfSet(file), momentsOf(values, 700, 5));
    assertEquals(momentsOfSet(firstOf(file, 30)), momentsOf(values.subarray(0, 150), 30, 5));
  });

  it("refuses vectors of another length and what is not finite, naming it", () => {
    using file = FeatureFile.create(2);
    file.append(Float32Array.of(1, 2));
    assertThrows(() => file.append(Float32Array.of(1, 2, 3)), DataError, "vectors of 2 features, got 3 values");
    assertThrows(() => file.append(Float32Array.of(1, 2, 3, NaN)), DataError, "found NaN in sample 2, feature 1");
  });
});

describe("joinedMoments", () => {
  it("are the moments of the parts together, each as often as it is named", () => {
    const values = normals(2, "x", 90 * 3).map((value) => value + 100);
    const set = featureSet(values, 90, 3);
    const centre = meanOf(set);
    const parts = [0, 30, 60].map((first) => sumsOf(set, first, 30, centre));
    const part = (i: number): number[] => [...values.subarray(i * 90, (i + 1) * 90)];
    for (const named of [[0, 1, 2], [2, 2, 0], [1, 1, 1]]) {
      const expected = momentsOf(Float64Array.from(named.flatMap(part)), 90, 3);
      const found = joinedMoments(named.map((i) => parts[i]!), centre);
      expected.mean.forEach((value, j) => assertAlmostEquals(found.mean[j]!, value, 1e-12 * 100));
      expected.covariance.forEach((value, j) => assertAlmostEquals(found.covariance[j]!, value, 1e-11));
    }
  });
});

describe("bootstrap", () => {
  it("draws every index about once, the same again for the same place", () => {
    const drawn = resample(2000, 7, "test", 3);
    assertEquals(drawn, resample(2000, 7, "test", 3));
    // Of n draws with replacement from n, a share of 1 − 1/e is distinct.
    assertAlmostEquals(new Set(drawn).size / 2000, 1 - 1 / Math.E, 0.03);
  });

  it("gives a mean the interval that theory gives it", () => {
    const values = normals(8, "x", 400);
    const { low, high, value } = meanInterval(values, 0, "mean");
    // ±1.96·σ/√n
    assertAlmostEquals((high - low) / 2, 1.96 / 20, 0.015);
    assertAlmostEquals((high + low) / 2, value, 0.01);
  });

  it("takes the central 95 % of the resamples", () => {
    const { low, high, resamples } = interval(5, Array.from({ length: 101 }, (_, i) => 100 - i));
    assertEquals([low, high, resamples], [2.5, 97.5, 101]);
  });
});
