/** The kernel distance between two sets of feature vectors. */

import { DataError } from "../errors.ts";
import { permutation } from "../random.ts";
import { blocks, chosen, expectOneDimension, type FeatureSet } from "./features.ts";
import { exactProducts, PAIR_BLOCK, type Products, type Rows } from "./products.ts";

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
export async function kernelDistance(
  a: FeatureSet,
  b: FeatureSet,
  products: Products = exactProducts,
): Promise<number> {
  expectOneDimension(a, b);
  const few = [a, b].find(({ count }) => count < 2);
  if (few !== undefined) throw new DataError(`a kernel distance needs at least 2 samples, got ${few.count}`);
  const own = async (set: FeatureSet): Promise<number> =>
    2 * await pairSum(set, products) / (set.count * (set.count - 1));
  return await own(a) + await own(b) - 2 * await kernelSum(a, b, products) / (a.count * b.count);
}

/**
 * The mean of {@linkcode kernelDistance} over random subsets, and its standard deviation, as KID is usually reported: the
 * cost does not grow with the sets.
 */
export async function subsetKernelDistance(
  a: FeatureSet,
  b: FeatureSet,
  { subsets = 100, size = 1000, seed = 0, products = exactProducts }: {
    subsets?: number;
    size?: number;
    seed?: number;
    products?: Products;
  } = {},
): Promise<SubsetDistance> {
  const n = Math.min(size, a.count, b.count);
  const draw = (set: FeatureSet, name: string, i: number): FeatureSet =>
    chosen(set, permutation(seed, `kernel distance ${name}`, i, set.count).subarray(0, n));
  const values: number[] = [];
  for (let i = 0; i < subsets; i++) values.push(await kernelDistance(draw(a, "a", i), draw(b, "b", i), products));
  const mean = values.reduce((sum, value) => sum + value, 0) / subsets;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, subsets - 1)), subsets, size: n };
}

/** Σᵢⱼ k(aᵢ, bⱼ) */
async function kernelSum(a: FeatureSet, b: FeatureSet, products: Products): Promise<number> {
  let sum = 0;
  for (const [firstA, nA] of blocks(a.count, PAIR_BLOCK)) {
    const x = a.read(firstA, nA);
    for (const [firstB, nB] of blocks(b.count, PAIR_BLOCK)) {
      sum += kernels(await products(x, b.read(firstB, nB), a.dimension), a.dimension);
    }
  }
  return sum;
}

/** Σ_{i<j} k(xᵢ, xⱼ): the kernel is symmetric, so each pair counts once. */
async function pairSum(set: FeatureSet, products: Products): Promise<number> {
  const { count, dimension: d } = set;
  let sum = 0;
  for (const [first, n] of blocks(count, PAIR_BLOCK)) {
    const x = set.read(first, n);
    const own = await products(x, x, d);
    for (let i = 0; i < n; i++) sum += kernels(own.subarray(i * n + i + 1, (i + 1) * n), d);
    for (let second = first + n; second < count; second += PAIR_BLOCK) {
      sum += kernels(await products(x, set.read(second, Math.min(PAIR_BLOCK, count - second)), d), d);
    }
  }
  return sum;
}

/** Σ k over products of pairs. */
function kernels(products: Rows, d: number): number {
  let sum = 0;
  for (let i = 0; i < products.length; i++) {
    const base = products[i]! / d + 1;
    sum += base * base * base;
  }
  return sum;
}
