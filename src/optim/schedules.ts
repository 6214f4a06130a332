/** Learning-rate factors: plain functions of the number of updates made, which the host feeds. */
import { UsageError } from "../errors.ts";

function expectCount(what: string, value: number): void {
  if (!(value > 0)) throw new UsageError(`${what}: expected a positive number of updates, found ${value}`);
}

/**
 * Linear warm-up over `updates` updates, one update behind as in the reference: update i (from 0) uses min(1, max(0, i − 1)/updates), so that updates
 * 0 and 1 move nothing but Adam's moments. 0 updates: no warm-up.
 */
export function warmUp(i: number, updates: number): number {
  return updates <= 0 ? 1 : Math.min(1, Math.max(0, i - 1) / updates);
}

/**
 * 1 until the last `fraction` of `total` updates, then linear to 0: update `total` would use 0.
 *
 * @throws {UsageError} if the total is no positive number or the fraction no number in [0, 1]
 */
export function linearDecay(i: number, total: number, fraction: number): number {
  expectCount("linearDecay", total);
  if (!(fraction >= 0 && fraction <= 1)) {
    throw new UsageError(`linearDecay: expected a fraction in [0, 1], found ${fraction}`);
  }
  if (fraction === 0) return 1;
  return Math.min(1, Math.max(0, (total - i) / (fraction * total)));
}

/**
 * ½(1 + cos(π·i/total)): from 1 to 0 over `total` updates (Loshchilov and Hutter: SGDR, 2017, without restarts).
 *
 * @throws {UsageError} if the total is no positive number
 */
export function cosineDecay(i: number, total: number): number {
  expectCount("cosineDecay", total);
  return 0.5 * (1 + Math.cos(Math.PI * Math.min(1, Math.max(0, i / total))));
}

/**
 * factor^⌊i/every⌋: falls in steps.
 *
 * @throws {UsageError} if `every` is no positive number
 */
export function stepDecay(i: number, every: number, factor: number): number {
  expectCount("stepDecay", every);
  return factor ** Math.floor(i / every);
}

/** A moving average's decay at update i (from 0): `limit`, but smaller while the average is young: min(limit, (1 + i)/(10 + i)). */
export function averageDecay(i: number, limit: number): number {
  return Math.min(limit, (1 + i) / (10 + i));
}
