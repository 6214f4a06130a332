/** How far distributions of the plane are from the truth, on a grid of the square. */
import { type PlaneDensity, SQUARE } from "./densities.ts";

/** Cells per side of the grid that densities are compared on. */
export const CELLS = 256;
/** Bins per side of the histogram that samples are compared by. */
export const BINS = 32;

/** How far a distribution q is from the truth p. */
export interface Divergence {
  /** KL(p ‖ q) = ∫ p·log(p/q), in nats. */
  readonly kl: number;
  /** ½·∫ |p − q|, from 0 to 1. */
  readonly tv: number;
}

/** Side of a cell when the square is cut into `cells` × `cells`. */
function side(cells: number): number {
  return (SQUARE.high - SQUARE.low) / cells;
}

/** Centres of the cells, [cells², 2], row by row from the top (y = high), as pictures have them. */
export function gridPoints(cells: number = CELLS): Float32Array<ArrayBuffer> {
  const h = side(cells);
  const points = new Float32Array(2 * cells * cells);
  for (let i = 0; i < cells * cells; i++) {
    points[2 * i] = SQUARE.low + h * (i % cells + 0.5);
    points[2 * i + 1] = SQUARE.high - h * (Math.floor(i / cells) + 0.5);
  }
  return points;
}

/** The truth's mass in each cell of {@linkcode gridPoints}, normalised to 1. */
export function truthOnGrid({ density }: PlaneDensity, cells: number = CELLS): Float64Array<ArrayBuffer> {
  const points = gridPoints(cells);
  const mass = Float64Array.from({ length: cells * cells }, (_, i) => density(points[2 * i]!, points[2 * i + 1]!));
  const total = mass.reduce((sum, m) => sum + m, 0);
  return mass.map((m) => m / total);
}

/** Logarithms of masses of cells from log-densities at their centres: not normalised, as a flow's mass outside the square counts against it. */
export function logMasses(logDensities: ArrayLike<number>, cells: number = CELLS): Float64Array<ArrayBuffer> {
  const area = Math.log(side(cells) ** 2);
  return Float64Array.from(logDensities, (l) => l + area);
}

/** Logarithms of exp(f)/Σ exp(f): an energy normalised on the grid. */
export function normalised(f: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const values = Float64Array.from(f);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const log = most + Math.log(values.reduce((sum, v) => sum + Math.exp(v - most), 0));
  return values.map((v) => v - log);
}

/** How far masses q, given by their logarithms, are from masses p that add up to 1. What q has beyond 1 − Σ q counts as being elsewhere. */
export function divergence(p: ArrayLike<number>, logQ: ArrayLike<number>): Divergence {
  let [kl, difference, total] = [0, 0, 0];
  for (let i = 0; i < p.length; i++) {
    const [mass, log] = [p[i]!, logQ[i]!];
    if (mass > 0) kl += mass * (Math.log(mass) - log);
    difference += Math.abs(mass - Math.exp(log));
    total += Math.exp(log);
  }
  return { kl, tv: 0.5 * (difference + Math.max(0, 1 - total)) };
}

/** Points in each bin, in the order of {@linkcode gridPoints}; edges belong to the square, points outside of it are left out. */
export function histogram(points: ArrayLike<number>, bins: number = BINS): Float64Array<ArrayBuffer> {
  const h = side(bins);
  const bin = (distance: number): number => Math.min(bins - 1, Math.floor(distance / h));
  const counts = new Float64Array(bins * bins);
  for (let i = 0; i < points.length; i += 2) {
    const [fromLeft, fromTop] = [points[i]! - SQUARE.low, SQUARE.high - points[i + 1]!];
    const inside = Math.min(fromLeft, fromTop) >= 0 && Math.max(fromLeft, fromTop) <= bins * h;
    if (inside) counts[bin(fromTop) * bins + bin(fromLeft)]!++;
  }
  return counts;
}

/** The masses of a grid added up in the bins of a histogram. */
export function binned(mass: Float64Array, bins: number = BINS): Float64Array<ArrayBuffer> {
  const cells = Math.sqrt(mass.length);
  const per = cells / bins;
  const out = new Float64Array(bins * bins);
  mass.forEach((m, i) => {
    const [row, column] = [Math.floor(Math.floor(i / cells) / per), Math.floor((i % cells) / per)];
    out[row * bins + column]! += m;
  });
  return out;
}

/**
 * How far points are from the truth, by their histogram, with half a point in addition in each bin so that none is empty. Counting alone makes some
 * distance, and differences within a bin are not seen.
 *
 * @param truth masses of a grid's cells
 */
export function sampleDivergence(truth: Float64Array, points: ArrayLike<number>, bins: number = BINS): Divergence {
  const counts = histogram(points, bins);
  const total = points.length / 2 + 0.5 * counts.length;
  return divergence(binned(truth, bins), counts.map((count) => Math.log((count + 0.5) / total)));
}
