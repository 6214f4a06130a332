/** Distances between two sets of feature vectors, each with an interval. */

import { type Interval, interval, NORMAL_95, normalInterval, resample } from "./bootstrap.ts";
import { blocks, type FeatureSet, firstOf } from "./features.ts";
import { frechetDistance, type Moments } from "./frechet.ts";
import { subsetKernelDistance } from "./kernel_distance.ts";
import { joinedMoments, meanOf, momentsOfSet, type Sums, sumsOf } from "./moments.ts";
import type { Products } from "./products.ts";
import { type Manifold, manifold, manifoldParts, neighbourRadii } from "./neighbours.ts";

/** Parts of a set that are drawn as a whole when covariances are resampled. */
const PARTS = 25;

/** Resamples of a Fréchet distance if nothing else is asked for: each costs about d³, at 2,048 features minutes. */
function frechetResamples(dimension: number): number {
  return dimension <= 128 ? 200 : dimension <= 256 ? 100 : dimension <= 512 ? 20 : 0;
}

/** A set whose Fréchet distances to others are wanted: its moments, and those of its parts. */
export interface Resampled {
  readonly moments: Moments;
  readonly centre: Float64Array;
  readonly parts: readonly Sums[];
}

/**
 * Goes through a set once for its moments and those of its resamples. Without resamples it is one part: each holds d² numbers, at 2,048
 * features 34 MB.
 */
export function resampled(set: FeatureSet, resamples: number = frechetResamples(set.dimension)): Resampled {
  const centre = meanOf(set);
  const size = Math.max(1, Math.ceil(set.count / (resamples > 0 ? PARTS : 1)));
  const parts = [...blocks(set.count, size)].map(([first, n]) => sumsOf(set, first, n, centre));
  return { moments: set.count < 2 ? momentsOfSet(set) : joinedMoments(parts, centre), centre, parts };
}

/** A resample's moments. */
function drawn({ centre, parts }: Resampled, seed: number, stream: string, index: number): Moments {
  const indices = resample(parts.length, seed, stream, index);
  return joinedMoments(Array.from(indices, (i) => parts[i]!), centre);
}

/**
 * {@linkcode frechetDistance} with a bootstrap interval over parts of both sets; of `b`, moments alone will do, which then count as exact.
 * Without resamples the interval's bounds are NaN.
 *
 * @throws {DataError} if the dimensions differ
 */
export function frechetInterval(
  a: Resampled,
  b: Resampled | Moments,
  seed: number,
  resamples: number = frechetResamples(a.centre.length),
): Interval {
  const ofB = "moments" in b ? b.moments : b;
  const value = frechetDistance(a.moments, ofB);
  const draws = Array.from({ length: resamples }, (_, i) =>
    frechetDistance(
      drawn(a, seed, "bootstrap frechet a", i),
      "moments" in b ? drawn(b, seed, "bootstrap frechet b", i) : b,
    ));
  return normalInterval(value, draws);
}

/** Vectors of each set in a subset, as KID is usually reported. */
const MOST_KERNEL_SUBSET = 1000;

/**
 * The mean of kernel distances of subsets, and an interval from their deviation s: ± 1.96·s·√(m/n), m vectors a subset and n the smaller set.
 */
export async function kernelInterval(
  a: FeatureSet,
  b: FeatureSet,
  seed: number,
  products?: Products,
): Promise<Interval & { readonly size: number }> {
  // No subset is more than half of a set: all of it is the same whenever it is drawn, and would seem to be known exactly.
  const most = Math.min(MOST_KERNEL_SUBSET, Math.max(2, Math.floor(Math.min(a.count, b.count) / 2)));
  const how = { seed, size: most, ...(products === undefined ? {} : { products }) };
  const { mean, deviation, subsets, size } = await subsetKernelDistance(a, b, how);
  const reach = NORMAL_95 * deviation * Math.sqrt(size / Math.min(a.count, b.count));
  return { value: mean, low: mean - reach, high: mean + reach, resamples: subsets, size };
}

const MANIFOLD_RESAMPLES = 200;

/** The four figures of {@linkcode manifold} with intervals. */
export type ManifoldIntervals = { readonly [P in Exclude<keyof Manifold, "k">]: Interval } & {
  readonly k: number;
  /** Vectors of each set that were compared. */
  readonly generated: number;
  readonly real: number;
};

/** The real set's part in {@linkcode manifoldIntervals}, the same whatever it is compared with. */
export function manifoldRadii(
  real: FeatureSet,
  { k, most, products }: { readonly k: number; readonly most: number; readonly products?: Products },
): Promise<Float64Array> {
  return neighbourRadii(firstOf(real, most), k, products);
}

/** Precision, recall, density and coverage of at most `most` vectors of each set, as their cost grows with the square. */
export async function manifoldIntervals(
  generated: FeatureSet,
  real: FeatureSet,
  { k, most, seed, products }: {
    readonly k: number;
    readonly most: number;
    readonly seed: number;
    readonly products?: Products;
  },
  ofReal?: Float64Array,
): Promise<ManifoldIntervals> {
  const [g, r] = [firstOf(generated, most), firstOf(real, most)];
  const parts = await manifoldParts(g, r, k, products === undefined ? { ofReal } : { ofReal, products });
  const value = manifold(parts);
  const draws = Array.from({ length: MANIFOLD_RESAMPLES }, (_, i) =>
    manifold(
      parts,
      resample(g.count, seed, "bootstrap manifold generated", i),
      resample(r.count, seed, "bootstrap manifold real", i),
    ));
  const of = (name: Exclude<keyof Manifold, "k">): Interval => interval(value[name], draws.map((draw) => draw[name]));
  return {
    precision: of("precision"),
    recall: of("recall"),
    density: of("density"),
    coverage: of("coverage"),
    k,
    generated: g.count,
    real: r.count,
  };
}
