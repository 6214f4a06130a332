/** Products of all pairs of vectors: what kernels and distances between sets are made of, and what takes their time. */

/** Vectors, row by row. */
export type Rows = Float32Array | Float64Array;

/** x·yᵀ, [n, m] row by row, of vectors x [n, d] and y [m, d]; one that is faster than {@linkcode exactProducts} may round. */
export type Products = (x: Rows, y: Rows, d: number) => Rows | Promise<Rows>;

/** Vectors of either set that are multiplied at once. */
export const PAIR_BLOCK = 1024;

/** {@linkcode Products} in float64. */
export function exactProducts(x: Rows, y: Rows, d: number): Float64Array {
  const [n, m] = [x.length / d, y.length / d];
  // Copies in float64, as a conversion at each element would take longer than its product.
  const [a, b] = [Float64Array.from(x), Float64Array.from(y)];
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i++) rowProducts(a.subarray(i * d, (i + 1) * d), b, out.subarray(i * m, (i + 1) * m));
  return out;
}

/** Products of one vector, four at a time, as one alone waits for memory. */
function rowProducts(x: Float64Array, y: Float64Array, out: Float64Array): void {
  const d = x.length;
  let j = 0;
  for (; j + 3 < out.length; j += 4) {
    const [y0, y1, y2, y3] = [j * d, (j + 1) * d, (j + 2) * d, (j + 3) * d];
    let [p0, p1, p2, p3] = [0, 0, 0, 0];
    for (let l = 0; l < d; l++) {
      const value = x[l]!;
      p0 += value * y[y0 + l]!;
      p1 += value * y[y1 + l]!;
      p2 += value * y[y2 + l]!;
      p3 += value * y[y3 + l]!;
    }
    [out[j], out[j + 1], out[j + 2], out[j + 3]] = [p0, p1, p2, p3];
  }
  for (; j < out.length; j++) {
    let sum = 0;
    for (let l = 0; l < d; l++) sum += x[l]! * y[j * d + l]!;
    out[j] = sum;
  }
}
