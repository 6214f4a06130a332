/** Axes: where a value lies between two ends, and which values are named. */
import { formatNumber } from "./html.ts";

/** How an axis is shown. */
export interface Axis {
  readonly label: string;
  /** Equal ratios as equal lengths; values of 0 or less are left out. */
  readonly log?: boolean;
}

/** A value that is named on an axis. */
export interface Tick {
  /** 0 at the low end, 1 at the high one. */
  readonly position: number;
  readonly text: string;
}

/** An axis with its ends. */
export interface Scale {
  readonly from: number;
  readonly to: number;
  readonly log: boolean;
  readonly ticks: readonly Tick[];
  /** 0 at `from`, 1 at `to`. */
  position(value: number): number;
}

/** Room left beyond the extreme values, as a share of the axis. */
const PADDING = 0.04;

/**
 * An axis for values from `low` to `high`.
 *
 * @param padded leave some room at both ends
 * @param wanted about how many ticks
 */
export function scaleOf(low: number, high: number, log: boolean, padded: boolean, wanted: number): Scale {
  const warp = log ? Math.log10 : (value: number) => value;
  let [from, to] = [warp(low), warp(high)];
  if (!(to > from)) {
    const room = log ? 0.5 : Math.abs(from) * 0.1 || 1;
    [from, to] = [from - room, to + room];
  }
  const room = padded ? (to - from) * PADDING : 0;
  [from, to] = [from - room, to + room];
  const position = (value: number): number => (warp(value) - from) / (to - from);
  const values = log ? logTicks(from, to, wanted) : linearTicks(from, to, wanted);
  const ticks = values.map((value) => ({ position: position(value), text: formatNumber(value) }));
  const unwarp = (value: number): number => log ? 10 ** value : value;
  return { from: unwarp(from), to: unwarp(to), log, ticks, position };
}

/** Multiples of 1, 2 or 5 times a power of ten. */
function linearTicks(from: number, to: number, wanted: number): number[] {
  const rough = (to - from) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const ticks: number[] = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

/** Powers of ten, every so many; with their double and fivefold where there are few. `from` and `to` are logarithms. */
function logTicks(from: number, to: number, wanted: number): number[] {
  const decades = to - from;
  if (decades < 0.7) return linearTicks(10 ** from, 10 ** to, wanted).filter((value) => value > 0);
  const every = Math.max(1, Math.ceil(decades / wanted));
  const factors = decades < wanted / 2 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = Math.floor(from); power <= to; power++) {
    if (power % every !== 0) continue;
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  return ticks.filter((value) => Math.log10(value) >= from && Math.log10(value) <= to);
}
