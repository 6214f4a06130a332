/** Mean and covariance of sets of feature vectors. */

import { DataError } from "../errors.ts";
import { blocks, type FeatureSet, featureSet } from "./features.ts";
import { dot } from "./linear_algebra.ts";

/** Mean and covariance of a set of vectors, in float64. */
export interface Moments {
  /** Number of vectors they were estimated from. */
  readonly count: number;
  /** d, the length of a vector. */
  readonly dimension: number;
  /** μ, [d]. */
  readonly mean: Float64Array;
  /** Σ, [d, d], symmetric. */
  readonly covariance: Float64Array;
}

/** Vectors per block: their transposed block stays in cache while all pairs of features are summed. */
const BLOCK = 64;

/**
 * μ = Σᵢ xᵢ / n and the unbiased Σ = Σᵢ (xᵢ − μ)(xᵢ − μ)ᵀ / (n − 1), in two passes.
 *
 * @param features [n, d], row by row
 * @throws {DataError} if n < 2, the sizes do not fit, or a feature is not finite
 */
export function momentsOf(features: Float32Array | Float64Array, n: number, d: number): Moments {
  if (!Number.isInteger(n) || n < 2) throw new DataError(`a covariance needs at least 2 samples, got ${n}`);
  return momentsOfSet(featureSet(features, n, d));
}

/** {@linkcode momentsOf} of a set that need not fit into memory. */
export function momentsOfSet(set: FeatureSet): Moments {
  const { count: n, dimension: d } = set;
  if (n < 2) throw new DataError(`a covariance needs at least 2 samples, got ${n}`);
  const { mean, products } = sumsOf(set, 0, n, meanOf(set));
  return { count: n, dimension: d, mean, covariance: symmetric(products, d, n - 1) };
}

/** Sums of part of a set, from which the moments of any union of parts follow. */
export interface Sums {
  readonly count: number;
  /** Mean of the part. */
  readonly mean: Float64Array;
  /** Lower triangle of Σᵢ (xᵢ − c)(xᵢ − c)ᵀ around the centre c. */
  readonly products: Float64Array;
}

/** Sums of vectors `first` … `first + n − 1`, products around `centre`. */
export function sumsOf(set: FeatureSet, first: number, n: number, centre: Float64Array): Sums {
  const d = set.dimension;
  const mean = new Float64Array(d);
  const products = new Float64Array(d * d);
  const columns = new Float64Array(d * BLOCK);
  for (const [begin, size] of blocks(n, BLOCK)) {
    const rows = set.read(first + begin, size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < d; j++) {
        const value = (rows[i * d + j] ?? 0) - (centre[j] ?? 0);
        columns[j * BLOCK + i] = value;
        mean[j] = (mean[j] ?? 0) + value;
      }
    }
    addProducts(products, columns, size, d);
  }
  for (let j = 0; j < d; j++) mean[j] = (centre[j] ?? 0) + (mean[j] ?? 0) / n;
  return { count: n, mean, products };
}

/**
 * Moments of parts taken together, each as often as it is named: of resamples whose unit is a part.
 *
 * @param parts sums around one common `centre`
 */
export function joinedMoments(parts: readonly Sums[], centre: Float64Array): Moments {
  const d = centre.length;
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const mean = new Float64Array(d);
  const products = new Float64Array(d * d);
  for (const part of parts) {
    for (let j = 0; j < d; j++) mean[j] = (mean[j] ?? 0) + (part.mean[j] ?? 0) * part.count / count;
    for (let p = 0; p < products.length; p++) products[p] = (products[p] ?? 0) + (part.products[p] ?? 0);
  }
  for (let j = 0; j < d; j++) {
    const shift = (mean[j] ?? 0) - (centre[j] ?? 0);
    for (let k = 0; k <= j; k++) {
      products[j * d + k] = (products[j * d + k] ?? 0) - count * shift * ((mean[k] ?? 0) - (centre[k] ?? 0));
    }
  }
  return { count, dimension: d, mean, covariance: symmetric(products, d, count - 1) };
}

/** The mean vector of a set. Throws DataError if a feature is not finite. */
export function meanOf(set: FeatureSet): Float64Array {
  const { count: n, dimension: d } = set;
  const mean = new Float64Array(d);
  for (const [first, size] of blocks(n)) {
    const rows = set.read(first, size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < d; j++) {
        const value = rows[i * d + j] ?? NaN;
        if (!Number.isFinite(value)) {
          throw new DataError(`expected finite features, found ${value} in sample ${first + i}, feature ${j}`);
        }
        mean[j] = (mean[j] ?? 0) + value;
      }
    }
  }
  for (let j = 0; j < d; j++) mean[j] = (mean[j] ?? 0) / n;
  return mean;
}

/** The whole matrix from its lower triangle, divided. */
function symmetric(lower: Float64Array, d: number, divisor: number): Float64Array {
  const out = new Float64Array(d * d);
  for (let j = 0; j < d; j++) {
    for (let k = 0; k <= j; k++) out[j * d + k] = out[k * d + j] = (lower[j * d + k] ?? 0) / divisor;
  }
  return out;
}

/** Adds the products of all pairs of columns to the lower triangle. */
function addProducts(sums: Float64Array, columns: Float64Array, size: number, d: number): void {
  for (let j = 0; j < d; j++) {
    const a = j * BLOCK;
    for (let k = 0; k <= j; k++) {
      sums[j * d + k] = (sums[j * d + k] ?? 0) + dot(columns, a, columns, k * BLOCK, size);
    }
  }
}
