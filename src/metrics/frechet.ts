/** The Fréchet distance between two sets of feature vectors. */

import { DataError } from "../errors.ts";
import { productTransposed, semidefiniteFactor, singularValues } from "./linear_algebra.ts";
import type { Moments } from "./moments.ts";

export { type Moments, momentsOf } from "./moments.ts";

/**
 * The squared Fréchet (2-Wasserstein) distance between the Gaussians of two sets' moments,
 * |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½): with Inception features, the FID of Heusel et al. (NeurIPS 2017).
 *
 * With Σ₁ = F₁ᵀF₁ and Σ₂ = F₂ᵀF₂ the last trace is the sum of the singular values of F₁F₂ᵀ, so nothing is inverted
 * and singular covariances need no ridge.
 *
 * @returns the distance, at least 0
 * @throws {DataError} if the dimensions differ
 */
export function frechetDistance(a: Moments, b: Moments): number {
  const d = a.dimension;
  if (d !== b.dimension) {
    throw new DataError(`expected features of one dimension, got ${d} and ${b.dimension}`);
  }
  let distance = 0;
  for (let j = 0; j < d; j++) {
    const difference = (a.mean[j] ?? 0) - (b.mean[j] ?? 0);
    distance += difference ** 2 + (a.covariance[j * d + j] ?? 0) + (b.covariance[j * d + j] ?? 0);
  }
  // Below 0 only by rounding.
  return Math.max(0, distance - 2 * traceOfRoot(a, b));
}

/** Tr (Σ₁Σ₂)^½ */
function traceOfRoot(a: Moments, b: Moments): number {
  const d = a.dimension;
  const factors = [semidefiniteFactor(a.covariance, d), semidefiniteFactor(b.covariance, d)] as const;
  const [small, large] = factors[0].rank <= factors[1].rank ? factors : [factors[1], factors[0]];
  const cross = productTransposed(large.rows, small.rows, large.rank, small.rank, d);
  return singularValues(cross, large.rank, small.rank).reduce((sum, value) => sum + value, 0);
}
