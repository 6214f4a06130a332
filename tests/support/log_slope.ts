/** A measured cost at one size. */
export interface Point {
  readonly flops: number;
  readonly seconds: number;
}

/** Slope of the least-squares line through (log FLOP, log seconds): 1 where time grows as the work does. NaN of fewer than two sizes. */
export function logSlope(points: readonly Point[]): number {
  const x = points.map(({ flops }) => Math.log(flops)), y = points.map(({ seconds }) => Math.log(seconds));
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const mx = mean(x), my = mean(y);
  const sum = (f: (i: number) => number): number => points.reduce((total, _, i) => total + f(i), 0);
  return sum((i) => (x[i]! - mx) * (y[i]! - my)) / sum((i) => (x[i]! - mx) ** 2);
}
