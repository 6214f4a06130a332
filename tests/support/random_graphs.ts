// fast-check arbitraries for shapes, windows, expressions and small graphs.

import fc from "fast-check";
import * as b from "../../src/graph/build.ts";
import { E, type Expr, type ExprOp, input } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { denseStrides, furthest, type Layout, numel, type Shape } from "../../src/graph/shape.ts";

/** Shapes of rank `minRank` … `maxRank` with sizes 1 … `maxSize`. */
export function shapes(options: { minRank?: number; maxRank?: number; maxSize?: number } = {}): fc.Arbitrary<number[]> {
  const { minRank = 0, maxRank = 4, maxSize = 5 } = options;
  return fc.array(fc.integer({ min: 1, max: maxSize }), { minLength: minRank, maxLength: maxRank });
}

/** One way to look at a tensor through another window. */
type Step = (l: Layout, choice: number) => Layout;

function at<T>(values: readonly T[], choice: number): T {
  return values[choice % values.length]!;
}

const STEPS: readonly Step[] = [
  // Transpose: rotate the dimensions.
  (l, choice) => {
    const turn = <T>(a: readonly T[]): T[] => a.map((_, i) => at(a, i + choice));
    return { offset: l.offset, shape: turn(l.shape), strides: turn(l.strides) };
  },
  // Slice one dimension, sometimes with a step.
  (l, choice) => {
    if (l.shape.length === 0) return l;
    const k = choice % l.shape.length;
    const size = l.shape[k]!;
    const start = Math.floor(choice / 7) % size;
    const step = 1 + Math.floor(choice / 31) % 2;
    const count = 1 + Math.floor((size - 1 - start) / step);
    return {
      offset: l.offset + start * l.strides[k]!,
      shape: l.shape.map((d, i) => (i === k ? count : d)),
      strides: l.strides.map((s, i) => (i === k ? s * step : s)),
    };
  },
  // Repeat along a new dimension.
  (l, choice) => {
    if (l.shape.length >= 6) return l;
    const k = choice % (l.shape.length + 1);
    return { offset: l.offset, shape: l.shape.toSpliced(k, 0, 1 + choice % 3), strides: l.strides.toSpliced(k, 0, 0) };
  },
  // Split a dimension in two.
  (l, choice) => {
    const even = l.shape.flatMap((d, i) => (d % 2 === 0 ? [i] : []));
    if (even.length === 0 || l.shape.length >= 6) return l;
    const k = at(even, choice);
    const half = l.shape[k]! / 2;
    return {
      offset: l.offset,
      shape: l.shape.toSpliced(k, 1, half, 2),
      strides: l.strides.toSpliced(k, 1, 2 * l.strides[k]!, l.strides[k]!),
    };
  },
];

/** Windows on a dense tensor of `shape`, made as models make them: transposed, sliced, repeated, split. */
export function layouts(shape: Shape): fc.Arbitrary<Layout> {
  const whole: Layout = { offset: 0, shape, strides: denseStrides(shape) };
  return fc.array(fc.tuple(fc.nat(STEPS.length - 1), fc.nat(1000)), { maxLength: 4 }).map((steps) =>
    steps.reduce((l, [which, choice]) => STEPS[which]!(l, choice), whole)
  );
}

/** Any window within `size` elements: arbitrary offset, sizes and strides. */
export function wildLayouts(size: number): fc.Arbitrary<Layout> {
  return fc.record({
    offset: fc.nat(size - 1),
    shape: shapes({ maxRank: 3, maxSize: 4 }),
    strides: fc.array(fc.nat(size), { minLength: 3, maxLength: 3 }),
  })
    .map(({ offset, shape, strides }) => ({ offset, shape, strides: strides.slice(0, shape.length) }))
    .filter((l) => furthest(l) < size);
}

type Args = readonly [Expr, Expr, Expr];

/** A use of each operation that stays in its domain and does not blow up, whatever the operands are. */
const TAME: Record<ExprOp, (args: Args) => Expr> = {
  add: ([a, c]) => E.add(a, c),
  sub: ([a, c]) => E.sub(a, c),
  mul: ([a, c]) => E.mul(E.tanh(a), c),
  div: ([a, c]) => E.div(a, E.add(1, E.abs(c))),
  neg: ([a]) => E.neg(a),
  abs: ([a]) => E.abs(a),
  max: ([a, c]) => E.max(a, c),
  min: ([a, c]) => E.min(a, c),
  exp: ([a]) => E.exp(E.min(a, 2)),
  log: ([a]) => E.log(E.add(0.5, E.abs(a))),
  expm1: ([a]) => E.expm1(E.min(a, 2)),
  log1p: ([a]) => E.log1p(E.abs(a)),
  sqrt: ([a]) => E.sqrt(E.add(0.25, E.abs(a))),
  rsqrt: ([a]) => E.rsqrt(E.add(0.5, E.abs(a))),
  recip: ([a]) => E.recip(E.add(0.5, E.abs(a))),
  tanh: ([a]) => E.tanh(a),
  sigmoid: ([a]) => E.sigmoid(a),
  softplus: ([a]) => E.softplus(a),
  // Steps of inputs only: a step of a computed value would magnify its rounding error.
  lt: ([a]) => E.lt(input(0), E.tanh(E.mul(a, 0))),
  le: () => E.le(input(0), 0.25),
  eq: () => E.eq(input(0), 0),
  select: ([a, c]) => E.select(E.lt(input(0), 0), a, c),
  is_finite: ([a]) => E.isFinite(a),
  // Its steps lie where sums that cancel don't.
  floor: () => E.floor(E.add(E.mul(input(0), 0.37), 0.29)),
  elu: ([a]) => E.elu(a),
};

/** Expressions of `inputs` operands that are finite and well conditioned for operands of ordinary size. */
export function expressions(inputs: number, depth = 4): fc.Arbitrary<Expr> {
  const leaf: fc.Arbitrary<Expr> = fc.oneof(
    { weight: 4, arbitrary: fc.nat(inputs - 1).map(input) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 0, 0.5, 1, 2).map((v) => E.add(v, 0)) },
  );
  if (depth === 0) return leaf;
  const inner = expressions(inputs, depth - 1);
  const op = fc.constantFrom(...Object.values(TAME));
  return fc.oneof(
    { weight: 1, arbitrary: leaf },
    { weight: 3, arbitrary: fc.tuple(op, inner, inner, inner).map(([make, x, y, z]) => make([x, y, z])) },
  );
}

/** A graph with feeds `x0`, `x1`, … and fetches `y0`, `y1`, …. */
export interface RandomGraph {
  readonly graph: Graph;
  readonly feeds: readonly Value[];
}

type Grow = (pool: readonly Value[], choice: number, expr: Expr) => Value;

const mean2 = (x: Value): Value => (x.shape.length > 0 ? b.mean(x, [x.shape.length - 1]) : x);

/** Ways to make another value of the values so far. */
const GROW: readonly Grow[] = [
  (pool, choice, expr) => {
    const x = at(pool, choice);
    const same = pool.filter((v) => `${v.shape}` === `${x.shape}`);
    return b.mapExpr(x.graph, [x, at(same, choice + 1), at(same, choice + 2)], expr, x.shape);
  },
  (pool, choice) => {
    const x = at(pool, choice);
    const axes = x.shape.flatMap((_, i) => ((choice >> i) & 1 ? [i] : []));
    return choice % 5 === 0 ? b.max(x, axes) : b.mean(x, axes);
  },
  (pool, choice) => {
    const x = at(pool, choice);
    const layout = STEPS[choice % STEPS.length]!({ offset: 0, shape: x.shape, strides: denseStrides(x.shape) }, choice);
    return numel(layout.shape) <= 512 ? b.view(x, layout) : x;
  },
  (pool, choice) => {
    const x = at(pool, choice);
    const k = x.shape.length === 0 ? -1 : choice % x.shape.length;
    if (k < 0 || numel(x.shape) > 256) return x;
    return choice % 2 ? b.concat([x, b.neg(x)], k) : b.pad(x, x.shape.map((_, i) => (i === k ? [1, 2] : [0, 0])));
  },
  (pool, choice) => {
    const x = at(pool, choice);
    const rows = b.reshape(x, [1, -1, x.shape.at(-1) ?? 1]);
    const product = b.matmul(rows, b.transpose(rows, [0, 2, 1]));
    return numel(product.shape) <= 400 ? b.tanh(product) : mean2(x);
  },
  (pool, choice, expr) => {
    const x = at(pool, choice);
    const other = mean2(at(pool.filter((v) => `${v.shape}` === `${x.shape}`), choice + 1));
    const { carried, stacked } = b.repeat(x.graph, 1 + choice % 3, [x], ([now]) => {
      const next = b.map([now!, other], (a, c) => E.add(E.tanh(a), E.mul(c, 0.1)));
      return { carried: [b.mapExpr(x.graph, [next, now!, next], expr, x.shape)], stacked: [mean2(next)] };
    });
    return choice % 2 ? carried[0]! : stacked[0]!;
  },
];

/** Small graphs of maps, reductions, windows, products and loops; every value that nothing reads is fetched. */
export function randomGraphs(): fc.Arbitrary<RandomGraph> {
  const steps = fc.array(fc.tuple(fc.nat(GROW.length - 1), fc.nat(10_000), expressions(3, 3)), {
    minLength: 1,
    maxLength: 8,
  });
  return fc.tuple(shapes({ minRank: 1, maxRank: 3 }), steps).map(([shape, chosen]) => {
    const graph = new Graph();
    const feeds = [b.feed(graph, "x0", shape), b.feed(graph, "x1", shape)];
    const pool: Value[] = [...feeds];
    for (const [which, choice, expr] of chosen) {
      const x = GROW[which]!(pool, choice, expr);
      if (x.shape.length <= 5) pool.push(x);
    }
    const read = new Set(graph.nodes.flatMap((n) => n.inputs));
    const ends = new Set(pool.filter((v) => !read.has(v)).concat(pool.slice(-1)));
    [...ends].forEach((v, i) => graph.fetch(`y${i}`, v));
    return { graph, feeds };
  });
}
