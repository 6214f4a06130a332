// Expressions, windows and reductions over whole float64 arrays.

import { type Expr, EXPR_OPS } from "../../../src/graph/expr.ts";
import { denseStrides, type Layout, numel, type Shape } from "../../../src/graph/shape.ts";

/** Elements evaluated at a time: small enough that the intermediate results of an expression stay in cache. */
const BLOCK = 2048;

type Loop = (out: Float64Array, args: readonly Float64Array[], n: number) => void;

function loopOf(e: Expr & { kind: "op" }): Loop {
  const { arity } = EXPR_OPS[e.op];
  const value = EXPR_OPS[e.op].value as (...args: number[]) => number;
  if (e.op === "add") {
    return (out, [a, b], n) => {
      for (let i = 0; i < n; i++) out[i] = a![i]! + b![i]!;
    };
  }
  if (e.op === "sub") {
    return (out, [a, b], n) => {
      for (let i = 0; i < n; i++) out[i] = a![i]! - b![i]!;
    };
  }
  if (e.op === "mul") {
    return (out, [a, b], n) => {
      for (let i = 0; i < n; i++) out[i] = a![i]! * b![i]!;
    };
  }
  if (arity === 1) {
    return (out, [a], n) => {
      for (let i = 0; i < n; i++) out[i] = value(a![i]!);
    };
  }
  if (arity === 2) {
    return (out, [a, b], n) => {
      for (let i = 0; i < n; i++) out[i] = value(a![i]!, b![i]!);
    };
  }
  return (out, [a, b, c], n) => {
    for (let i = 0; i < n; i++) out[i] = value(a![i]!, b![i]!, c![i]!);
  };
}

/** Evaluates `expr` for each of `n` elements. Constants are rounded to float32, as programs hold them. */
export function evaluateMap(expr: Expr, inputs: readonly Float64Array[], n: number): Float64Array {
  const place = new Map<Expr, number>();
  const steps: { loop: Loop; args: readonly number[]; at: number }[] = [];
  const constants: { at: number; value: number }[] = [];
  const visit = (e: Expr): number => {
    const known = place.get(e);
    if (known !== undefined) return known;
    const args = e.kind === "op" ? e.args.map(visit) : [];
    const at = place.size;
    place.set(e, at);
    if (e.kind === "op") steps.push({ loop: loopOf(e), args, at });
    else if (e.kind === "const") constants.push({ at, value: Math.fround(e.value) });
    return at;
  };
  const root = visit(expr);
  const size = Math.min(BLOCK, n);
  const slots: Float64Array[] = Array.from({ length: place.size }, () => new Float64Array(size));
  for (const { at, value } of constants) slots[at]!.fill(value);
  const reads = [...place].flatMap(([e, at]) => (e.kind === "input" ? [{ at, data: inputs[e.index]! }] : []));
  const out = new Float64Array(n);
  for (let begin = 0; begin < n; begin += BLOCK) {
    const count = Math.min(BLOCK, n - begin);
    for (const { at, data } of reads) slots[at] = data.subarray(begin, begin + count);
    for (const { loop, args, at } of steps) loop(slots[at]!, args.map((k) => slots[k]!), count);
    out.set(slots[root]!.subarray(0, count), begin);
  }
  return out;
}

/** The index in the underlying tensor of each element of `layout`, row-major. */
export function layoutIndices(layout: Layout): Int32Array {
  let indices = Int32Array.of(layout.offset);
  layout.shape.forEach((size, k) => {
    const next = new Int32Array(indices.length * size);
    let at = 0;
    for (const base of indices) for (let i = 0; i < size; i++) next[at++] = base + i * layout.strides[k]!;
    indices = next;
  });
  return indices;
}

/** Copies a window out of `x`. */
export function gather(x: Float64Array, layout: Layout): Float64Array {
  return Float64Array.from(layoutIndices(layout), (i) => x[i]!);
}

/** Writes `x` into a window of `out`. */
export function scatter(out: Float64Array, x: Float64Array, layout: Layout): void {
  layoutIndices(layout).forEach((i, k) => {
    out[i] = x[k]!;
  });
}

/** Reduces over `axes` of a tensor of `shape`. */
export function reduceAxes(kind: "sum" | "max", x: Float64Array, shape: Shape, axes: readonly number[]): Float64Array {
  const kept = shape.map((d, i) => (axes.includes(i) ? 1 : d));
  const strides = denseStrides(kept).map((s, i) => (axes.includes(i) ? 0 : s));
  const target = layoutIndices({ offset: 0, shape, strides });
  const out = new Float64Array(numel(kept)).fill(kind === "sum" ? 0 : -Infinity);
  if (kind === "sum") target.forEach((t, i) => out[t]! += x[i]!);
  else {
    // Math.max, unlike a comparison, keeps NaN.
    target.forEach((t, i) => {
      out[t] = Math.max(out[t]!, x[i]!);
    });
  }
  return out;
}
