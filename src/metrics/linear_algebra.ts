/** What the metrics need of linear algebra, in float64; matrices are dense and row-major. */

import { CoopFlowError } from "../errors.ts";

/** A factor F of a positive semidefinite matrix A = FᵀF. */
export interface Factor {
  /** r, the numerical rank of A: rows of F. */
  readonly rank: number;
  /** F, [r, d]. */
  readonly rows: Float64Array;
}

/**
 * Cholesky factor with complete pivoting, stopped where nothing but rounding is left: works for singular matrices
 * (N. Higham: "Analysis of the Cholesky decomposition of a semi-definite matrix", 1990).
 *
 * @param a [d, d], symmetric positive semidefinite up to rounding
 */
export function semidefiniteFactor(a: Float64Array, d: number): Factor {
  const rows = new Float64Array(d * d);
  const diagonal = Float64Array.from({ length: d }, (_, j) => a[j * d + j] ?? 0);
  const threshold = d * Number.EPSILON * Math.max(...diagonal, 0);
  for (let rank = 0; rank < d; rank++) {
    let pivot = 0;
    for (let j = 1; j < d; j++) if ((diagonal[j] ?? 0) > (diagonal[pivot] ?? 0)) pivot = j;
    const largest = diagonal[pivot] ?? 0;
    if (!(largest > threshold)) return { rank, rows: rows.slice(0, rank * d) };

    const row = rows.subarray(rank * d, (rank + 1) * d);
    row.set(a.subarray(pivot * d, (pivot + 1) * d));
    for (let m = 0; m < rank; m++) addMultiple(row, rows, m * d, -(rows[m * d + pivot] ?? 0));
    const scale = 1 / Math.sqrt(largest);
    for (let j = 0; j < d; j++) {
      const value = (row[j] ?? 0) * scale;
      row[j] = value;
      diagonal[j] = (diagonal[j] ?? 0) - value * value;
    }
    // Exactly done; rounding could leave it above the threshold.
    diagonal[pivot] = 0;
  }
  return { rank: d, rows };
}

/** X·Yᵀ: [n, m] from X [n, k] and Y [m, k]. */
export function productTransposed(
  x: Float64Array,
  y: Float64Array,
  n: number,
  m: number,
  k: number,
): Float64Array {
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) out[i * m + j] = dot(x, i * k, y, j * k, k);
  }
  return out;
}

/** Σ x[xStart + l]·y[yStart + l] over `length` elements. */
export function dot(x: Float64Array, xStart: number, y: Float64Array, yStart: number, length: number): number {
  // Four sums that do not wait for each other: one alone is bound by the latency of an addition.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let l = 0;
  for (; l + 3 < length; l += 4) {
    s0 += (x[xStart + l] ?? 0) * (y[yStart + l] ?? 0);
    s1 += (x[xStart + l + 1] ?? 0) * (y[yStart + l + 1] ?? 0);
    s2 += (x[xStart + l + 2] ?? 0) * (y[yStart + l + 2] ?? 0);
    s3 += (x[xStart + l + 3] ?? 0) * (y[yStart + l + 3] ?? 0);
  }
  for (; l < length; l++) s0 += (x[xStart + l] ?? 0) * (y[yStart + l] ?? 0);
  return (s0 + s1) + (s2 + s3);
}

/**
 * Singular values of a matrix, in no particular order, by Householder bidiagonalisation (Golub, Kahan 1965) and the
 * implicit QL method on the symmetric tridiagonal matrix whose eigenvalues are ±σ. Nothing is squared, so their errors
 * are of the order of 10⁻¹⁶ times the largest.
 *
 * @param a [m, n] with m ≥ n. Overwritten
 * @throws {CoopFlowError} if a value is not finite
 */
export function singularValues(a: Float64Array, m: number, n: number): Float64Array {
  const largest = a.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  if (!Number.isFinite(largest)) throw new CoopFlowError("singular values of a matrix that is not finite do not exist");
  if (largest === 0) return new Float64Array(n);
  for (let p = 0; p < a.length; p++) a[p] = (a[p] ?? 0) / largest;
  // Diagonal and superdiagonal of the bidiagonal matrix B, in turns, are the off-diagonal of [[0, Bᵀ], [B, 0]] with its
  // rows and columns shuffled like cards; its diagonal is 0.
  const off = new Float64Array(2 * n);
  bidiagonalise(a, m, n, off);
  const eigenvalues = tridiagonalEigenvalues(new Float64Array(2 * n), off).map(Math.abs).sort();
  return Float64Array.from(
    { length: n },
    (_, k) => largest * ((eigenvalues[2 * k] ?? 0) + (eigenvalues[2 * k + 1] ?? 0)) / 2,
  );
}

/** Writes the diagonal of the bidiagonal form to the even places of `off`, the superdiagonal to the odd ones. */
function bidiagonalise(a: Float64Array, m: number, n: number, off: Float64Array): void {
  const column = new Float64Array(m);
  const sums = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const v = column.subarray(k);
    for (let i = k; i < m; i++) column[i] = a[i * n + k] ?? 0;
    const left = reflector(v);
    off[2 * k] = left.value;
    if (k + 1 === n) return;

    const w = sums.subarray(k + 1).fill(0);
    for (let i = k; i < m; i++) addMultiple(w, a, i * n + k + 1, column[i] ?? 0);
    for (let i = k; i < m; i++) {
      addMultiple(a.subarray(i * n + k + 1, (i + 1) * n), sums, k + 1, -left.factor * (column[i] ?? 0));
    }

    const u = a.subarray(k * n + k + 1, (k + 1) * n);
    const right = reflector(u);
    off[2 * k + 1] = right.value;
    for (let i = k + 1; i < m; i++) {
      const start = i * n + k + 1;
      const product = dot(a, start, u, 0, u.length);
      addMultiple(a.subarray(start, start + u.length), u, 0, -right.factor * product);
    }
  }
}

/** Beside a matrix scaled to 1 this is nothing, and its square is still a normal number. */
const TINY = 1e-150;

/** Turns x into the v of the reflection I − factor·v·vᵀ that takes x to (value, 0, …, 0). */
function reflector(x: Float64Array): { value: number; factor: number } {
  const norm = Math.sqrt(dot(x, 0, x, 0, x.length));
  if (norm < TINY) return { value: 0, factor: 0 };
  const first = x[0] ?? 0;
  const value = first > 0 ? -norm : norm;
  x[0] = first - value;
  return { value, factor: 1 / (norm * (norm + Math.abs(first))) };
}

const MAX_SWEEPS = 60;

/**
 * Eigenvalues of a symmetric tridiagonal matrix (Dubrulle, Martin, Wilkinson 1968). Off-diagonal elements count as 0
 * once they are below the rounding of the largest.
 *
 * @param d the diagonal; overwritten with the result
 * @param e e[i] stands beside d[i] and d[i + 1], the last is ignored; overwritten
 */
function tridiagonalEigenvalues(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  const largest = e.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const negligible = Number.EPSILON / 4 * largest;
  for (let l = 0; l < n; l++) {
    for (let sweep = 0;; sweep++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m] ?? 0) > negligible) m++;
      if (m === l) break;
      if (sweep === MAX_SWEEPS) throw new CoopFlowError(`singular values do not converge within ${MAX_SWEEPS} sweeps`);
      qlSweep(d, e, l, m);
    }
  }
  return d;
}

/** One implicit QL sweep, with Wilkinson's shift, on the unreduced block l … m. */
function qlSweep(d: Float64Array, e: Float64Array, l: number, m: number): void {
  const dl = d[l] ?? 0;
  const el = e[l] ?? 0;
  const ratio = ((d[l + 1] ?? 0) - dl) / (2 * el);
  const root = Math.hypot(ratio, 1);
  let g = (d[m] ?? 0) - dl + el / (ratio + (ratio >= 0 ? root : -root));
  let s = 1;
  let c = 1;
  let p = 0;
  for (let i = m - 1; i >= l; i--) {
    const f = s * (e[i] ?? 0);
    const b = c * (e[i] ?? 0);
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // Underflow split the block: start again on the smaller one.
      d[i + 1] = (d[i + 1] ?? 0) - p;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = (d[i + 1] ?? 0) - p;
    const t = ((d[i] ?? 0) - g) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = g + p;
    g = c * t - b;
  }
  d[l] = (d[l] ?? 0) - p;
  e[l] = g;
  e[m] = 0;
}

/** target += factor·source[start …] */
function addMultiple(target: Float64Array, source: Float64Array, start: number, factor: number): void {
  if (factor === 0) return;
  for (let j = 0; j < target.length; j++) target[j] = (target[j] ?? 0) + factor * (source[start + j] ?? 0);
}
