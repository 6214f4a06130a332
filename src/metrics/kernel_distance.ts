/** The kernel distance between two sets of feature vectors. */

import { DataError } from "../errors.ts";
import { permutation } from "../random.ts";
import { blocks, chosen, expectOneDimension, type FeatureSet } from "./features.ts";
import { dot } from "./linear_algebra.ts";

/** Mean and standard deviation over subsets. */
export interface SubsetDistance {
  readonly mean: number;
  readonly deviation: number;
  readonly subsets: number;
  /** Vectors of each set in a subset. */
  readonly size: number;
}

/**
 * The unbiased squared maximum mean discrepancy with the cubic kernel k(x, y) = (x·y/d + 1)³: with Inception features
 * the KID of Bińkowski et al. (ICLR 2018, §4),
 * Σ_{i≠j} k(xᵢ, xⱼ)/(m(m−1)) + Σ_{i≠j} k(yᵢ, yⱼ)/(n(n−1)) − 2·Σ k(xᵢ, yⱼ)/(mn).
 *
 * @returns the distance; around 0, and below it too, for sets of one distribution
 * @throws {DataError} if dimensions differ or a set has fewer than 2 vectors
 */
export function kernelDistance(a: FeatureSet, b: FeatureSet): number {
  expectOneDimension(a, b);
  const few = [a, b].find(({ count }) => count < 2);
  if (few !== undefined) throw new DataError(`a kernel distance needs at least 2 samples, got ${few.count}`);
  const own = (set: FeatureSet): number => (kernelSum(set, set) - diagonalSum(set)) / (set.count * (set.count - 1));
  return own(a) + own(b) - 2 * kernelSum(a, b) / (a.count * b.count);
}

/**
 * The mean of {@linkcode kernelDistance} over random subsets, and its standard deviation, as KID is usually reported: the
 * cost does not grow with the sets.
 */
export function subsetKernelDistance(
  a: FeatureSet,
  b: FeatureSet,
  { subsets = 100, size = 1000, seed = 0 }: { subsets?: number; size?: number; seed?: number } = {},
): SubsetDistance {
  const n = Math.min(size, a.count, b.count);
  const draw = (set: FeatureSet, name: string, i: number): FeatureSet =>
    chosen(set, permutation(seed, `kernel distance ${name}`, i, set.count).subarray(0, n));
  const values = Array.from({ length: subsets }, (_, i) => kernelDistance(draw(a, "a", i), draw(b, "b", i)));
  const mean = values.reduce((sum, value) => sum + value, 0) / subsets;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, subsets - 1)), subsets, size: n };
}

function kernel(product: number, d: number): number {
  return (product / d + 1) ** 3;
}

/** Σᵢⱼ k(aᵢ, bⱼ) */
function kernelSum(a: FeatureSet, b: FeatureSet): number {
  const d = a.dimension;
  let sum = 0;
  for (const [firstA, nA] of blocks(a.count)) {
    const x = Float64Array.from(a.read(firstA, nA));
    for (const [firstB, nB] of blocks(b.count)) {
      const y = Float64Array.from(b.read(firstB, nB));
      let part = 0;
      for (let i = 0; i < nA; i++) {
        for (let j = 0; j < nB; j++) part += kernel(dot(x, i * d, y, j * d, d), d);
      }
      sum += part;
    }
  }
  return sum;
}

function diagonalSum(set: FeatureSet): number {
  const d = set.dimension;
  let sum = 0;
  for (const [first, n] of blocks(set.count)) {
    const x = Float64Array.from(set.read(first, n));
    for (let i = 0; i < n; i++) sum += kernel(dot(x, i * d, x, i * d, d), d);
  }
  return sum;
}
