/** How well a score tells two sets apart. */

import { DataError } from "../errors.ts";

/**
 * Area under the receiver operating characteristic: the probability that a score of the first set is larger than one of the second, ties counting
 * half. 1: always; 0.5: the score says nothing. From the sum of ranks (Mann–Whitney U), O(n·log n).
 *
 * @throws {DataError} if a set is empty or a score is not a number
 */
export function auroc(larger: ArrayLike<number>, smaller: ArrayLike<number>): number {
  const [n, m] = [larger.length, smaller.length];
  if (n === 0 || m === 0) throw new DataError(`expected scores of both sets, got ${n} and ${m}`);
  const scores = new Float64Array(n + m);
  scores.set(larger);
  scores.set(smaller, n);
  if (scores.some(Number.isNaN)) throw new DataError("expected scores that are numbers, got NaN");
  const order = Uint32Array.from(scores, (_, i) => i).sort((a, b) =>
    scores[a]! < scores[b]! ? -1 : Number(scores[a]! > scores[b]!)
  );
  let ranks = 0;
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && scores[order[j]!] === scores[order[i]!]) j++;
    // Ranks i + 1 … j; equal scores share the middle one.
    for (let k = i; k < j; k++) if (order[k]! < n) ranks += (i + 1 + j) / 2;
    i = j;
  }
  return (ranks - n * (n + 1) / 2) / (n * m);
}
