/** Mean and covariance of sets of feature vectors. */

import { DataError } from "../errors.ts";
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
  if (!Number.isInteger(d) || d < 1 || features.length !== n * d) {
    throw new DataError(`expected ${n}×${d} = ${n * d} features, got ${features.length}`);
  }
  const mean = meanOf(features, n, d);
  const covariance = new Float64Array(d * d);
  const columns = new Float64Array(d * BLOCK);
  for (let first = 0; first < n; first += BLOCK) {
    const size = Math.min(BLOCK, n - first);
    for (let i = 0; i < size; i++) {
      const row = (first + i) * d;
      for (let j = 0; j < d; j++) columns[j * BLOCK + i] = (features[row + j] ?? 0) - (mean[j] ?? 0);
    }
    addProducts(covariance, columns, size, d);
  }
  for (let j = 0; j < d; j++) {
    for (let k = 0; k <= j; k++) {
      const value = (covariance[j * d + k] ?? 0) / (n - 1);
      covariance[j * d + k] = value;
      covariance[k * d + j] = value;
    }
  }
  return { count: n, dimension: d, mean, covariance };
}

function meanOf(features: Float32Array | Float64Array, n: number, d: number): Float64Array {
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < d; j++) {
      const value = features[i * d + j] ?? NaN;
      if (!Number.isFinite(value)) {
        throw new DataError(`expected finite features, found ${value} in sample ${i}, feature ${j}`);
      }
      mean[j] = (mean[j] ?? 0) + value;
    }
  }
  for (let j = 0; j < d; j++) mean[j] = (mean[j] ?? 0) / n;
  return mean;
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
