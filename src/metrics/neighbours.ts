/** Distances between sets of feature vectors: nearest neighbours, precision and recall, density and coverage. */

import { DataError } from "../errors.ts";
import { blocks, expectOneDimension, type FeatureSet } from "./features.ts";
import { exactProducts, PAIR_BLOCK, type Products, type Rows } from "./products.ts";

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
export async function nearest(
  queries: FeatureSet,
  set: FeatureSet,
  products: Products = exactProducts,
): Promise<Nearest> {
  expectOneDimension(queries, set);
  if (queries.count < 1 || set.count < 1) throw new DataError("nearest neighbours of an empty set do not exist");
  const least = new Float64Array(queries.count).fill(Infinity);
  const indices = new Uint32Array(queries.count);
  await eachDistance(queries, set, products, (i, j, squared) => {
    if (squared < least[i]!) [least[i], indices[i]] = [squared, j];
  });
  // Once more by itself: of vectors that are nearly the same, sums of squares leave little but rounding.
  return { distances: least.map((_, i) => distance(queries, i, set, indices[i]!)), indices };
}

/** Squared distance of each vector to its k-th nearest other one. Throws DataError unless there are more than k. */
export async function neighbourRadii(
  set: FeatureSet,
  k: number,
  products: Products = exactProducts,
): Promise<Float64Array> {
  if (set.count <= k) throw new DataError(`the ${k} nearest neighbours need more than ${k} samples, got ${set.count}`);
  // Of each vector, the k smallest so far in rising order.
  const smallest = new Float64Array(set.count * k).fill(Infinity);
  await eachDistance(set, set, products, (i, j, squared) => {
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
 * @param options.ofReal the real set's {@linkcode neighbourRadii}, where it is used more than once
 */
export async function manifoldParts(
  generated: FeatureSet,
  real: FeatureSet,
  k: number,
  { ofReal, products = exactProducts }: { ofReal?: Float64Array | undefined; products?: Products } = {},
): Promise<ManifoldParts> {
  expectOneDimension(generated, real);
  const radii = ofReal ?? await neighbourRadii(real, k, products);
  const ofGenerated = await neighbourRadii(generated, k, products);
  const balls = new Uint32Array(generated.count);
  const [recalled, covered] = [new Uint8Array(real.count), new Uint8Array(real.count)];
  await eachDistance(generated, real, products, (i, j, squared) => {
    if (squared <= radii[j]!) {
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

/** Calls `visit` with the squared distance of each pair, |a|² + |b|² − 2·a·b, at least 0. */
async function eachDistance(
  a: FeatureSet,
  b: FeatureSet,
  products: Products,
  visit: (i: number, j: number, squared: number) => void,
): Promise<void> {
  const d = a.dimension;
  for (const [firstA, nA] of blocks(a.count, PAIR_BLOCK)) {
    const x = a.read(firstA, nA), ofX = squares(x, nA, d);
    for (const [firstB, nB] of blocks(b.count, PAIR_BLOCK)) {
      const y = b.read(firstB, nB), ofY = squares(y, nB, d);
      const xy = await products(x, y, d);
      for (let i = 0; i < nA; i++) {
        for (let j = 0; j < nB; j++) {
          visit(firstA + i, firstB + j, Math.max(0, ofX[i]! + ofY[j]! - 2 * xy[i * nB + j]!));
        }
      }
    }
  }
}

function squares(x: Rows, n: number, d: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let l = i * d; l < (i + 1) * d; l++) sum += x[l]! ** 2;
    return sum;
  });
}

/** Distance of vector i of one set to vector j of another, in float64. */
function distance(a: FeatureSet, i: number, b: FeatureSet, j: number): number {
  const [x, y] = [a.read(i, 1), b.read(j, 1)];
  let sum = 0;
  for (let l = 0; l < x.length; l++) sum += (x[l]! - y[l]!) ** 2;
  return Math.sqrt(sum);
}
