// Matrix products, convolutions, inverse and determinant in float64: plain loops over the defining sums.

import type { ConvAttrs } from "../../../src/graph/attrs.ts";
import type { Shape } from "../../../src/graph/shape.ts";

/** y[b,m,n] = Σ_k a[b,m,k]·b[b,k,n]. */
export function matmul(a: Float64Array, b: Float64Array, aShape: Shape, bShape: Shape): Float64Array {
  const [batch, m, k] = aShape as [number, number, number];
  const n = bShape[2]!;
  const y = new Float64Array(batch * m * n);
  for (let row = 0; row < batch * m; row++) {
    const bBase = Math.floor(row / m) * k * n;
    for (let j = 0; j < k; j++) {
      const factor = a[row * k + j]!;
      for (let i = 0; i < n; i++) y[row * n + i]! += factor * b[bBase + j * n + i]!;
    }
  }
  return y;
}

/** Sizes of one convolution: x [n,h,w,i], weights [o,i,k,k], y [n,oh,ow,o]. */
interface ConvSizes {
  readonly x: Shape;
  readonly y: Shape;
  readonly kernel: number;
}

/** Calls `visit` with the offsets of the channel rows of x, of y and of the kernel position that meet. */
function eachMeeting(s: ConvSizes, a: ConvAttrs, visit: (x: number, y: number, position: number) => void): void {
  const [n, h, w, i] = s.x as [number, number, number, number];
  const [, oh, ow, o] = s.y as [number, number, number, number];
  for (let image = 0; image < n; image++) {
    for (let oy = 0; oy < oh; oy++) {
      for (let ox = 0; ox < ow; ox++) {
        for (let r = 0; r < s.kernel; r++) {
          const iy = oy * a.stride + r - a.padding;
          if (iy < 0 || iy >= h) continue;
          for (let q = 0; q < s.kernel; q++) {
            const ix = ox * a.stride + q - a.padding;
            if (ix < 0 || ix >= w) continue;
            visit(((image * h + iy) * w + ix) * i, ((image * oh + oy) * ow + ox) * o, r * s.kernel + q);
          }
        }
      }
    }
  }
}

/** OIHW weights as [position][i][o], so that inner loops walk memory in order; and back. */
function byPosition(w: Float64Array, o: number, i: number, positions: number): Float64Array {
  const out = new Float64Array(w.length);
  for (let a = 0; a < o; a++) {
    for (let b = 0; b < i; b++) {
      for (let p = 0; p < positions; p++) out[(p * i + b) * o + a] = w[(a * i + b) * positions + p]!;
    }
  }
  return out;
}

/** NHWC convolution by OIHW weights. */
export function conv(x: Float64Array, w: Float64Array, s: ConvSizes, a: ConvAttrs): Float64Array {
  const i = s.x[3]!;
  const o = s.y[3]!;
  const turned = byPosition(w, o, i, s.kernel * s.kernel);
  const y = new Float64Array(s.y.reduce((p, d) => p * d, 1));
  eachMeeting(s, a, (xAt, yAt, position) => {
    for (let b = 0; b < i; b++) {
      const value = x[xAt + b]!;
      const row = (position * i + b) * o;
      for (let c = 0; c < o; c++) y[yAt + c]! += value * turned[row + c]!;
    }
  });
  return y;
}

/** Adjoint of {@linkcode conv} in x. */
export function convDataGrad(dy: Float64Array, w: Float64Array, s: ConvSizes, a: ConvAttrs): Float64Array {
  const i = s.x[3]!;
  const o = s.y[3]!;
  const turned = byPosition(w, o, i, s.kernel * s.kernel);
  const dx = new Float64Array(s.x.reduce((p, d) => p * d, 1));
  eachMeeting(s, a, (xAt, yAt, position) => {
    for (let b = 0; b < i; b++) {
      const row = (position * i + b) * o;
      let sum = 0;
      for (let c = 0; c < o; c++) sum += dy[yAt + c]! * turned[row + c]!;
      dx[xAt + b]! += sum;
    }
  });
  return dx;
}

/** Adjoint of {@linkcode conv} in w. */
export function convWeightGrad(x: Float64Array, dy: Float64Array, s: ConvSizes, a: ConvAttrs): Float64Array {
  const i = s.x[3]!;
  const o = s.y[3]!;
  const positions = s.kernel * s.kernel;
  const turned = new Float64Array(positions * i * o);
  eachMeeting(s, a, (xAt, yAt, position) => {
    for (let b = 0; b < i; b++) {
      const value = x[xAt + b]!;
      const row = (position * i + b) * o;
      for (let c = 0; c < o; c++) turned[row + c]! += value * dy[yAt + c]!;
    }
  });
  const dw = new Float64Array(turned.length);
  for (let c = 0; c < o; c++) {
    for (let b = 0; b < i; b++) {
      for (let p = 0; p < positions; p++) dw[(c * i + b) * positions + p] = turned[(p * i + b) * o + c]!;
    }
  }
  return dw;
}

/** Gauss–Jordan with partial pivoting: the inverse, and log|det| from the pivots. */
export function invert(w: Float64Array, n: number): { inverse: Float64Array; logAbsDet: number } {
  const a = Float64Array.from(w);
  const inverse = new Float64Array(n * n);
  for (let k = 0; k < n; k++) inverse[k * n + k] = 1;
  let logAbsDet = 0;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let r = k + 1; r < n; r++) if (Math.abs(a[r * n + k]!) > Math.abs(a[pivot * n + k]!)) pivot = r;
    for (const m of [a, inverse]) {
      for (let c = 0; c < n; c++) [m[k * n + c], m[pivot * n + c]] = [m[pivot * n + c]!, m[k * n + c]!];
    }
    const diagonal = a[k * n + k]!;
    logAbsDet += Math.log(Math.abs(diagonal));
    for (const m of [a, inverse]) for (let c = 0; c < n; c++) m[k * n + c]! /= diagonal;
    for (let r = 0; r < n; r++) {
      const factor = a[r * n + k]!;
      if (r === k || factor === 0) continue;
      for (const m of [a, inverse]) for (let c = 0; c < n; c++) m[r * n + c]! -= factor * m[k * n + c]!;
    }
  }
  return { inverse, logAbsDet };
}
