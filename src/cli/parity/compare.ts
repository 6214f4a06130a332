/** Comparing tensors. */
import type { Tolerance } from "./tolerances.ts";

/** A tensor and what it should be. */
export interface Check {
  /** The golden tensor's name. */
  readonly name: string;
  readonly found: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly tolerance: Tolerance;
}

/** How far off a tensor is. */
export interface Comparison {
  readonly name: string;
  readonly error: number;
  readonly limit: number;
  /** error/limit: over 1 fails. */
  readonly ratio: number;
  /** Position of the largest difference, and what stands there. */
  readonly at: number;
  readonly found: number;
  readonly expected: number;
}

/** Measures the largest difference of a tensor. NaN is infinitely far from everything, a missing element too. */
export function compare({ name, found, expected, tolerance }: Check): Comparison {
  let largest = 0;
  let scale = 0;
  let at = 0;
  for (let i = 0; i < Math.max(found.length, expected.length); i++) {
    const difference = Math.abs((found[i] ?? NaN) - (expected[i] ?? NaN));
    const size = Number.isNaN(difference) ? Infinity : difference;
    if (size > largest) [largest, at] = [size, i];
    scale = Math.max(scale, Math.abs(expected[i] ?? 0));
  }
  const ways: { error: number; limit: number }[] = [];
  if (tolerance.relative !== undefined) {
    ways.push({ error: largest === 0 ? 0 : largest / scale, limit: tolerance.relative });
  }
  if (tolerance.absolute !== undefined) ways.push({ error: largest, limit: tolerance.absolute });
  const ratios = ways.map(({ error, limit }) => ({ error, limit, ratio: error === 0 ? 0 : error / limit }));
  const best = ratios.reduce((a, b) => (b.ratio < a.ratio ? b : a));
  return { name, ...best, at, found: found[at] ?? NaN, expected: expected[at] ?? NaN };
}

/** The comparison that is furthest off, relative to its limit. */
export function worst(comparisons: readonly Comparison[]): Comparison | undefined {
  return comparisons.reduce<Comparison | undefined>((a, b) => (a && a.ratio >= b.ratio ? a : b), undefined);
}
