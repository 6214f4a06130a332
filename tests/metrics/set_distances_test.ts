import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type FeatureSet, featureSet } from "../../src/metrics/features.ts";
import { frechetDistance } from "../../src/metrics/frechet.ts";
import { momentsOfSet } from "../../src/metrics/moments.ts";
import { frechetInterval, kernelInterval, resampled } from "../../src/metrics/set_distances.ts";
import { normals } from "../../src/random.ts";

function draws(name: string, n: number, d: number): FeatureSet {
  return featureSet(normals(4, name, n * d), n, d);
}

describe("frechetInterval", () => {
  it("lies around the distance of the whole sets", () => {
    const [a, b] = [draws("a", 90, 4), draws("b", 80, 4)];
    const { value, low, high, resamples } = frechetInterval(resampled(a), resampled(b), 0);
    assertAlmostEquals(value, frechetDistance(momentsOfSet(a), momentsOfSet(b)), 1e-12);
    assert(low < value && value < high && resamples > 0);
  });

  it("claims nothing where there are too many features to resample, and keeps no parts for it", () => {
    const [a, b] = [draws("a", 30, 513), draws("b", 30, 513)];
    const parts = resampled(a);
    assertEquals(parts.parts.length, 1);
    const { value, low, high, resamples } = frechetInterval(parts, resampled(b), 0);
    assertAlmostEquals(value / frechetDistance(momentsOfSet(a), momentsOfSet(b)), 1, 1e-10);
    assertEquals([low, high, resamples], [NaN, NaN, 0]);
  });

  it("resamples any number of features when asked to", () => {
    const [a, b] = [draws("a", 30, 513), draws("b", 30, 513)];
    const { value, low, high } = frechetInterval(resampled(a, 3), resampled(b, 3), 0, 3);
    assert(low < value && value < high);
  });
});

describe("kernelInterval", () => {
  it("claims no more than it knows where sets are small", async () => {
    const [a, b] = [draws("a", 60, 4), draws("b", 50, 4)];
    const { value, low, high, size } = await kernelInterval(a, b, 0);
    assertEquals(size, 25);
    assert(low < value && value < high && low < 0 && high > 0, `${value} [${low}, ${high}]`);
  });
});
