/** Distances between sets of feature vectors: nearest neighbours, precision and recall, density and coverage. */

import { DataError } from "../errors.ts";
import { blocks, expectOneDimension, type FeatureSet } from "./features.ts";
import { dot } from "./linear_algebra.ts";

/** How far and which. */
export interface Nearest {
  /** Euclidean distance of each query to the nearest vector. */
  readonly distances: Float64Array;
  /** Its index. */
  readonly indices: Uint32Array;
}

/** Fidelity and diversity of one set against another. */
export interface Manifold {
  /** Share of the generated vectors that lie in the ball of some real vector. */
  readonly precision: number;
  /** Share of the real vectors that lie in the ball of some generated vector. */
  readonly recall: number;
  /** Mean number of real balls that a generated vector lies in, over k: robust against outliers, may exceed 1. */
  readonly density: number;
  /** Share of the real balls that hold a generated vector. */
  readonly coverage: number;
  readonly k: number;
}

/** What each vector says of the four figures: resampling needs no distance again. */
export interface ManifoldParts {
  /** Of each generated vector: how many real balls hold it. */
  readonly balls: Uint32Array;
  /** Of each real vector: whether a generated ball holds it, and whether its own ball holds a generated vector. */
  readonly recalled: Uint8Array;
  readonly covered: Uint8Array;
  readonly k: number;
}

/** The nearest vector of `set` for each of `queries`. Throws DataError if dimensions differ or a set is empty. */
export function nearest(queries: FeatureSet, set: FeatureSet): Nearest {
  expectOneDimension(queries, set);
  if (queries.count < 1 || set.count < 1) throw new DataError("nearest neighbours of an empty set do not exist");
  const distances = new Float64Array(queries.count).fill(Infinity);
  const indices = new Uint32Array(queries.count);
  eachDistance(queries, set, (i, j, squared) => {
    if (squared < distances[i]!) [distances[i], indices[i]] = [squared, j];
  });
  return { distances: distances.map(Math.sqrt), indices };
}

/** Squared distance of each vector to its k-th nearest other one. Throws DataError unless there are more than k. */
export function neighbourRadii(set: FeatureSet, k: number): Float64Array {
  if (set.count <= k) throw new DataError(`the ${k} nearest neighbours need more than ${k} samples, got ${set.count}`);
  // Of each vector, the k smallest so far in rising order.
  const smallest = new Float64Array(set.count * k).fill(Infinity);
  eachDistance(set, set, (i, j, squared) => {
    const end = i * k + k - 1;
    if (i === j || squared >= smallest[end]!) return;
    let at = end;
    for (; at > i * k && smallest[at - 1]! > squared; at--) smallest[at] = smallest[at - 1]!;
    smallest[at] = squared;
  });
  return Float64Array.from({ length: set.count }, (_, i) => smallest[i * k + k - 1]!);
}

/**
 * Who lies in whose ball, a vector's ball reaching to its k-th nearest neighbour in its own set: what improved precision and
 * recall (Kynkäänniemi et al., NeurIPS 2019) and density and coverage (Naeem et al., ICML 2020) count.
 *
 * @param ofReal the real set's {@linkcode neighbourRadii}, where it is used more than once
 */
export function manifoldParts(
  generated: FeatureSet,
  real: FeatureSet,
  k: number,
  ofReal: Float64Array = neighbourRadii(real, k),
): ManifoldParts {
  expectOneDimension(generated, real);
  const ofGenerated = neighbourRadii(generated, k);
  const balls = new Uint32Array(generated.count);
  const [recalled, covered] = [new Uint8Array(real.count), new Uint8Array(real.count)];
  eachDistance(generated, real, (i, j, squared) => {
    if (squared <= ofReal[j]!) {
      balls[i]!++;
      covered[j] = 1;
    }
    if (squared <= ofGenerated[i]!) recalled[j] = 1;
  });
  return { balls, recalled, covered, k };
}

/** The four figures; with resampled indices, of a resample. */
export function manifold(
  { balls, recalled, covered, k }: ManifoldParts,
  ofGenerated: ArrayLike<number> = balls.map((_, i) => i),
  ofReal: ArrayLike<number> = Uint32Array.from(recalled, (_, i) => i),
): Manifold {
  const mean = (indices: ArrayLike<number>, value: (index: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < indices.length; i++) sum += value(indices[i]!);
    return sum / indices.length;
  };
  return {
    precision: mean(ofGenerated, (i) => balls[i]! > 0 ? 1 : 0),
    recall: mean(ofReal, (j) => recalled[j]!),
    density: mean(ofGenerated, (i) => balls[i]!) / k,
    coverage: mean(ofReal, (j) => covered[j]!),
    k,
  };
}

/** Calls `visit` with the squared distance of each pair, |a|² + |b|² − 2·a·b in float64, at least 0. */
function eachDistance(a: FeatureSet, b: FeatureSet, visit: (i: number, j: number, squared: number) => void): void {
  const d = a.dimension;
  const squares = (x: Float64Array, n: number): Float64Array =>
    Float64Array.from({ length: n }, (_, i) => dot(x, i * d, x, i * d, d));
  for (const [firstA, nA] of blocks(a.count)) {
    const x = Float64Array.from(a.read(firstA, nA)), ofX = squares(x, nA);
    for (const [firstB, nB] of blocks(b.count)) {
      const y = Float64Array.from(b.read(firstB, nB)), ofY = squares(y, nB);
      for (let i = 0; i < nA; i++) {
        for (let j = 0; j < nB; j++) {
          visit(firstA + i, firstB + j, Math.max(0, ofX[i]! + ofY[j]! - 2 * dot(x, i * d, y, j * d, d)));
        }
      }
    }
  }
}
