import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { CoopFlowError } from "../../src/errors.ts";
import { dot, productTransposed, semidefiniteFactor, singularValues } from "../../src/metrics/linear_algebra.ts";
import { normals } from "../../src/random.ts";

const size = fc.integer({ min: 1, max: 25 });

function random(seed: number, n: number, k: number): Float64Array {
  return Float64Array.from(normals(seed, "matrix", n * k));
}

/** X·Xᵀ, whole. */
function gram(x: Float64Array, n: number, k: number): Float64Array {
  return productTransposed(x, x, n, n, k);
}

/** Turns the rows of an [n, n] matrix, or its columns, by angles in the planes of neighbours. */
function rotate(a: Float64Array, n: number, side: "rows" | "columns", angle: number): void {
  const [stride, step] = side === "rows" ? [n, 1] : [1, n];
  for (let i = 0; i + 1 < n; i++) {
    const c = Math.cos(angle + i);
    const s = Math.sin(angle + i);
    for (let k = 0; k < n; k++) {
      const p = i * stride + k * step;
      const x = a[p] ?? 0;
      const y = a[p + stride] ?? 0;
      a[p] = c * x - s * y;
      a[p + stride] = s * x + c * y;
    }
  }
}

function sorted(values: ArrayLike<number>): number[] {
  return Array.from(values).sort((a, b) => a - b);
}

describe("singularValues", () => {
  it("finds the values that a matrix was made of, zeros and repeated ones included", () => {
    const value = fc.oneof(fc.constantFrom(0, 1, 2), fc.double({ min: 0, max: 50, noNaN: true }));
    // Values far below rounding included: fast-check likes them.
    fc.assert(fc.property(fc.array(value, { minLength: 1, maxLength: 25 }), fc.nat(3), (made, extra) => {
      const n = made.length;
      const a = new Float64Array((n + extra) * n);
      made.forEach((sigma, i) => a[i * n + i] = sigma);
      rotate(a, n, "rows", 1);
      rotate(a, n, "columns", 2);
      const largest = Math.max(1, ...made);
      const expected = sorted(made);
      const found = sorted(singularValues(a, n + extra, n));
      assertEquals(found.length, n);
      found.forEach((sigma, i) => assertAlmostEquals(sigma, expected[i] ?? NaN, 1e-13 * largest));
    }));
  });

  it("agrees with invariants of random matrices", () => {
    fc.assert(fc.property(size, fc.nat(20), (n, extra) => {
      const m = n + extra;
      const a = random(m, m, n);
      const squares = dot(a, 0, a, 0, m * n);
      const found = singularValues(a.slice(), m, n);
      assertAlmostEquals(dot(found, 0, found, 0, n) / squares, 1, 1e-13);
      if (n === 1) assertAlmostEquals(found[0] ?? NaN, Math.sqrt(squares), 1e-13 * Math.sqrt(squares));
    }));
  });

  it("knows the bidiagonal matrix of ones: 2 cos(kπ / (2n + 1))", () => {
    const n = 150;
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      a[i * n + i] = 1;
      if (i > 0) a[(i - 1) * n + i] = 1;
    }
    sorted(singularValues(a, n, n)).forEach((found, i) => {
      assertAlmostEquals(found, 2 * Math.cos((n - i) * Math.PI / (2 * n + 1)), 1e-14);
    });
  });

  it("refuses what is not finite", () => {
    assertThrows(() => singularValues(Float64Array.of(1, 0, NaN, 1), 2, 2), CoopFlowError, "not finite");
  });

  it("of an empty matrix are none", () => {
    assertEquals(singularValues(new Float64Array(0), 5, 0).length, 0);
  });
});

describe("semidefiniteFactor", () => {
  it("gives back the matrix, and its rank", () => {
    fc.assert(fc.property(size, size, (d, r) => {
      const a = gram(random(d * 100 + r, d, r), d, r);
      const { rank, rows } = semidefiniteFactor(a, d);
      assertEquals(rank, Math.min(d, r));
      const largest = Math.max(...a);
      for (let i = 0; i < d; i++) {
        for (let j = 0; j < d; j++) {
          let sum = 0;
          for (let m = 0; m < rank; m++) sum += (rows[m * d + i] ?? 0) * (rows[m * d + j] ?? 0);
          assertAlmostEquals(sum, a[i * d + j] ?? NaN, 1e-12 * largest);
        }
      }
    }));
  });

  it("of nothing is nothing", () => {
    assertEquals(semidefiniteFactor(new Float64Array(9), 3).rank, 0);
  });
});

describe("products", () => {
  it("agree with plain sums for every length", () => {
    for (let k = 0; k <= 9; k++) {
      const x = random(k, 3, k);
      const y = random(k + 50, 2, k);
      const product = productTransposed(x, y, 3, 2, k);
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 2; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++) sum += (x[i * k + l] ?? 0) * (y[j * k + l] ?? 0);
          assertAlmostEquals(product[i * 2 + j] ?? NaN, sum, 1e-14);
          assertAlmostEquals(dot(x, i * k, y, j * k, k), sum, 1e-14);
        }
      }
    }
  });
});
