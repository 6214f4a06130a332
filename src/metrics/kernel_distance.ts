/** The kernel distance between two sets of feature vectors. */

import { DataError } from "../errors.ts";
import { permutation } from "../random.ts";
import { BLOCK, blocks, chosen, expectOneDimension, type FeatureSet } from "./features.ts";
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
  const own = (set: FeatureSet): number => 2 * pairSum(set) / (set.count * (set.count - 1));
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
  let sum = 0;
  for (const [firstA, nA] of blocks(a.count)) {
    const x = Float64Array.from(a.read(firstA, nA));
    for (const [firstB, nB] of blocks(b.count)) {
      const y = Float64Array.from(b.read(firstB, nB));
      for (let i = 0; i < nA; i++) sum += rowSum(x, i, y, 0, nB, a.dimension);
    }
  }
  return sum;
}

/** Σ_{i<j} k(xᵢ, xⱼ): the kernel is symmetric, so each pair counts once. */
function pairSum(set: FeatureSet): number {
  let sum = 0;
  for (const [firstA, nA] of blocks(set.count)) {
    const x = Float64Array.from(set.read(firstA, nA));
    for (let i = 0; i < nA; i++) sum += rowSum(x, i, x, i + 1, nA, set.dimension);
    for (let firstB = firstA + nA; firstB < set.count; firstB += BLOCK) {
      const nB = Math.min(BLOCK, set.count - firstB);
      const y = Float64Array.from(set.read(firstB, nB));
      for (let i = 0; i < nA; i++) sum += rowSum(x, i, y, 0, nB, set.dimension);
    }
  }
  return sum;
}

/** Σ k(xᵢ, yⱼ) over begin ≤ j < end; four products at a time, as one alone waits for memory. */
function rowSum(x: Float64Array, i: number, y: Float64Array, begin: number, end: number, d: number): number {
  let sum = 0;
  let j = begin;
  for (; j + 3 < end; j += 4) {
    const [y0, y1, y2, y3] = [j * d, (j + 1) * d, (j + 2) * d, (j + 3) * d];
    let [p0, p1, p2, p3] = [0, 0, 0, 0];
    for (let l = 0, at = i * d; l < d; l++, at++) {
      const value = x[at]!;
      p0 += value * y[y0 + l]!;
      p1 += value * y[y1 + l]!;
      p2 += value * y[y2 + l]!;
      p3 += value * y[y3 + l]!;
    }
    sum += kernel(p0, d) + kernel(p1, d) + kernel(p2, d) + kernel(p3, d);
  }
  for (; j < end; j++) sum += kernel(dot(x, i * d, y, j * d, d), d);
  return sum;
}
