/** Confidence intervals by resampling. */

import { uniforms } from "../random.ts";

/** The standard normal variable lies within ± this with probability 0.95. */
export const NORMAL_95 = 1.959963984540054;

/** A figure and where it probably lies. */
export interface Interval {
  readonly value: number;
  /** Bounds of the central 95 % of the resamples. */
  readonly low: number;
  readonly high: number;
  readonly resamples: number;
}

/** `0.714 [0.690, 0.730]`, the interval left out where there is none. */
export function shownInterval({ value, low, high }: Interval, digits: number): string {
  const shown = (number: number): string => number.toFixed(digits).replace("-", "−");
  return Number.isFinite(low) ? `${shown(value)} [${shown(low)}, ${shown(high)}]` : shown(value);
}

/** n draws with replacement from 0 … n − 1, a pure function of (seed, stream, resample). */
export function resample(n: number, seed: number, stream: string, index: number): Uint32Array {
  return Uint32Array.from(uniforms(seed, stream, n, { iteration: index }), (u) => Math.min(n - 1, Math.floor(u * n)));
}

/** The percentile interval (Efron 1979) of figures of resamples. */
export function interval(value: number, resampled: readonly number[]): Interval {
  const sorted = Float64Array.from(resampled).sort();
  const at = (share: number): number => {
    const position = share * (sorted.length - 1), below = Math.floor(position);
    const [low, high] = [sorted[below] ?? NaN, sorted[Math.min(below + 1, sorted.length - 1)] ?? NaN];
    return low + (position - below) * (high - low);
  };
  return { value, low: at(0.025), high: at(0.975), resamples: sorted.length };
}

/**
 * The normal interval value ± 1.96·s, s the deviation of the figures of resamples: for distances between sets, which resampling biases (a resample is more
 * different from the other set than the sample is), so that their percentiles lie beside the value. Bounds are NaN below 2 resamples.
 */
export function normalInterval(value: number, resampled: readonly number[]): Interval {
  const resamples = resampled.length;
  if (resamples < 2) return { value, low: NaN, high: NaN, resamples };
  const mean = resampled.reduce((sum, v) => sum + v, 0) / resamples;
  const squares = resampled.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  const reach = NORMAL_95 * Math.sqrt(squares / (resamples - 1));
  return { value, low: value - reach, high: value + reach, resamples };
}

/** The mean of values, with the interval of resampled means. */
export function meanInterval(values: ArrayLike<number>, seed: number, stream: string, resamples = 1000): Interval {
  const mean = (indices?: Uint32Array): number => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[indices?.[i] ?? i] ?? NaN;
    return sum / values.length;
  };
  const drawn = Array.from({ length: resamples }, (_, i) => mean(resample(values.length, seed, stream, i)));
  return interval(mean(), drawn);
}
