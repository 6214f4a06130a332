/** What models are written with: NumPy-like functions that append nodes, broadcast explicitly and fold what is free. */
import { createHash } from "node:crypto";
import { ShapeError } from "../errors.ts";
import { constant as exprConstant, E, type Expr, input, inputsOf, substitute } from "./expr.ts";
import type { Graph, Value } from "./graph.ts";
import { wholeLayout } from "./ops.ts";
import {
  broadcastShapes,
  composeLayouts,
  denseStrides,
  type DType,
  formatShape,
  isDense,
  type Layout,
  numel,
  sameShape,
  type Shape,
} from "./shape.ts";

// ---- leaves

/** A tensor that the host writes before each run. */
export function feed(g: Graph, name: string, shape: Shape, dtype: DType = "f32"): Value {
  return g.add("feed", { name, shape, dtype }, [])[0]!;
}

/** A named persistent tensor; its value is the one at the start of the run. */
export function state(g: Graph, name: string, shape: Shape): Value {
  return g.add("state", { name, shape }, [])[0]!;
}

/** A tensor known when the graph is built; equal data of equal shape are one constant. */
export function constant(g: Graph, data: Float32Array<ArrayBuffer>, shape: Shape): Value {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return g.add("constant", { data, shape, key: createHash("sha256").update(bytes).digest("hex") }, [])[0]!;
}

/** A tensor of one repeated value; free to broadcast, and folded into expressions. */
export function fill(g: Graph, value: number, shape: Shape = []): Value {
  return g.add("map", { expr: exprConstant(value), shape }, [])[0]!;
}

// ---- windows

/** The window `layout` on x. Windows of windows are composed; an identity returns x itself. */
export function view(x: Value, layout: Layout): Value {
  if (sameShape(layout.shape, x.shape) && layout.offset === 0 && isDense(layout)) return x;
  const { node } = x;
  if (node.op === "view") {
    const composed = composeLayouts(node.attrs.layout, layout);
    if (composed) return view(node.inputs[0]!, composed);
  }
  if (node.op === "map" && node.attrs.expr.kind === "const") return fill(x.graph, node.attrs.expr.value, layout.shape);
  return x.graph.add("view", { layout }, [x])[0]!;
}

/** Same elements in the same order under another shape; one size may be −1. */
export function reshape(x: Value, shape: Shape): Value {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  const full = shape.map((d) => (d === -1 ? numel(x.shape) / known : d));
  if (numel(full) !== numel(x.shape)) {
    throw new ShapeError(`reshape: expected ${numel(x.shape)} elements, found ${formatShape(full)}`);
  }
  return view(x, wholeLayout(full));
}

/** Dimension i of the result is dimension order[i] of x. */
export function transpose(x: Value, order: readonly number[]): Value {
  const strides = denseStrides(x.shape);
  return view(x, { offset: 0, shape: order.map((k) => x.shape[k]!), strides: order.map((k) => strides[k]!) });
}

/** Elements start ≤ i < end along `axis` (negative axes count from the end). */
export function slice(x: Value, axis: number, start: number, end: number): Value {
  const k = axis < 0 ? axis + x.shape.length : axis;
  const strides = denseStrides(x.shape);
  return view(x, { offset: start * strides[k]!, shape: x.shape.map((d, i) => (i === k ? end - start : d)), strides });
}

/** Splits into equal parts along `axis`. */
export function split(x: Value, parts: number, axis: number): Value[] {
  const k = axis < 0 ? axis + x.shape.length : axis;
  const size = x.shape[k]! / parts;
  if (!Number.isInteger(size)) {
    throw new ShapeError(`split: expected a size divisible by ${parts}, found ${formatShape(x.shape)} at axis ${axis}`);
  }
  return Array.from({ length: parts }, (_, i) => slice(x, k, i * size, (i + 1) * size));
}

/** Repeats size-1 (and missing leading) dimensions up to `shape`. */
export function broadcast(x: Value, shape: Shape): Value {
  if (sameShape(x.shape, shape)) return x;
  const strides = denseStrides(x.shape), lead = shape.length - x.shape.length;
  const fits = lead >= 0 && x.shape.every((d, i) => d === 1 || d === shape[i + lead]);
  if (!fits) {
    throw new ShapeError(
      `broadcast: expected a shape that repeats to ${formatShape(shape)}, found ${formatShape(x.shape)}`,
    );
  }
  return view(x, {
    offset: 0,
    shape,
    strides: shape.map((_, i) => (i < lead || x.shape[i - lead] === 1 ? 0 : strides[i - lead]!)),
  });
}

/** Writes parts into windows of a new tensor; uncovered elements are zero. */
export function assemble(shape: Shape, parts: readonly { value: Value; layout: Layout }[]): Value {
  const first = parts[0];
  if (!first) throw new ShapeError("assemble: expected at least one part, found none");
  if (parts.length === 1 && numel(first.layout.shape) === numel(shape) && isDense(first.layout)) {
    return reshape(first.value, shape);
  }
  return first.value.graph.add("assemble", { shape, parts: parts.map((p) => p.layout) }, parts.map((p) => p.value))[0]!;
}

/** Joins along `axis`. */
export function concat(values: readonly Value[], axis: number): Value {
  const [first] = values;
  if (!first) throw new ShapeError("concat: expected at least one tensor, found none");
  const k = axis < 0 ? axis + first.shape.length : axis;
  const shape = first.shape.map((d, i) => (i === k ? values.reduce((n, v) => n + v.shape[k]!, 0) : d));
  const strides = denseStrides(shape);
  let at = 0;
  return assemble(
    shape,
    values.map((value) => {
      const layout = { offset: at * strides[k]!, shape: value.shape, strides };
      at += value.shape[k]!;
      return { value, layout };
    }),
  );
}

/** Adds zeros around: `widths[i]` = [before, after] of dimension i. */
export function pad(x: Value, widths: readonly (readonly [number, number])[]): Value {
  const shape = x.shape.map((d, i) => d + widths[i]![0] + widths[i]![1]);
  const strides = denseStrides(shape);
  return assemble(shape, [{
    value: x,
    layout: { offset: widths.reduce((o, [b], i) => o + b * strides[i]!, 0), shape: x.shape, strides },
  }]);
}

// ---- element-wise

/** Applies an expression to operands after broadcasting them to one shape. Operands that are fills become constants of the expression. */
export function map(operands: readonly Value[], build: (...x: Expr[]) => Expr): Value {
  const [first] = operands;
  if (!first) throw new ShapeError("map: expected at least one operand, found none");
  const shape = operands.reduce<Shape>((s, v) => broadcastShapes(s, v.shape, "map"), []);
  return mapExpr(first.graph, operands, build(...operands.map((_, i) => input(i))), shape);
}

/** {@linkcode map} with the expression and the shape given. */
export function mapExpr(g: Graph, operands: readonly Value[], expr: Expr, shape: Shape): Value {
  const used = new Set(inputsOf(expr));
  const kept: Value[] = [];
  const place = new Map<Value, number>();
  const folded = substitute(expr, (i) => {
    const v = operands[i]!;
    if (v.node.op === "map" && v.node.attrs.expr.kind === "const") return v.node.attrs.expr;
    const wide = broadcast(v, shape);
    let at = place.get(wide);
    if (at === undefined) {
      at = kept.push(wide) - 1;
      place.set(wide, at);
    }
    return input(at);
  });
  if (used.size === 0 || folded.kind === "const") return fill(g, folded.kind === "const" ? folded.value : NaN, shape);
  if (folded.kind === "input") return kept[folded.index]!;
  const live = inputsOf(folded);
  const expr2 = live.length === kept.length ? folded : substitute(folded, (i) => input(live.indexOf(i)));
  return g.add("map", { expr: expr2, shape }, live.map((i) => kept[i]!))[0]!;
}

type Operand = Value | number;

function binary(op: (a: Expr, b: Expr) => Expr): (a: Operand, b: Operand) => Value {
  return (a, b) => {
    if (typeof a !== "number") return typeof b === "number" ? map([a], (x) => op(x, exprConstant(b))) : map([a, b], op);
    if (typeof b !== "number") return map([b], (x) => op(exprConstant(a), x));
    throw new ShapeError("map: expected at least one tensor, found two numbers");
  };
}

/** a + b, broadcasting. */
export const add: (a: Operand, b: Operand) => Value = binary(E.add);
/** a − b, broadcasting. */
export const sub: (a: Operand, b: Operand) => Value = binary(E.sub);
/** a · b, broadcasting. */
export const mul: (a: Operand, b: Operand) => Value = binary(E.mul);
/** a / b, broadcasting. */
export const div: (a: Operand, b: Operand) => Value = binary(E.div);
/** −x. */
export const neg = (x: Value): Value => map([x], E.neg);
/** eˣ. */
export const exp = (x: Value): Value => map([x], E.exp);
/** Natural logarithm. */
export const log = (x: Value): Value => map([x], E.log);
/** √x. */
export const sqrt = (x: Value): Value => map([x], E.sqrt);
/** tanh x. */
export const tanh = (x: Value): Value => map([x], E.tanh);
/** 1/(1 + e⁻ˣ). */
export const sigmoid = (x: Value): Value => map([x], E.sigmoid);
/** log(1 + eˣ). */
export const softplus = (x: Value): Value => map([x], E.softplus);
/** x·σ(x). */
export const swish = (x: Value): Value => map([x], E.swish);
/** x limited to [low, high]. */
export const clamp = (x: Value, low: number, high: number): Value => map([x], (a) => E.clamp(a, low, high));
/** condition ≠ 0 ? a : b, bit for bit. */
export const select = (condition: Value, a: Value, b: Value): Value => map([condition, a, b], E.select);
/** Identity that gradients do not pass. */
export const stopGradient = (x: Value): Value => x.graph.add("stop_gradient", {}, [x])[0]!;

// ---- reductions

const allAxes = (x: Value): number[] => x.shape.map((_, i) => i);

function reduce(kind: "sum" | "max", x: Value, axes: readonly number[]): Value {
  const positive = [...new Set(axes.map((k) => (k < 0 ? k + x.shape.length : k)))].sort((a, b) => a - b);
  const real = positive.filter((k) => x.shape[k] !== 1);
  return real.length === 0 ? x : x.graph.add("reduce", { kind, axes: real }, [x])[0]!;
}

/** Sum over axes (default all), which stay as size 1. */
export const sum = (x: Value, axes: readonly number[] = allAxes(x)): Value => reduce("sum", x, axes);
/** Maximum over axes, which stay as size 1. */
export const max = (x: Value, axes: readonly number[] = allAxes(x)): Value => reduce("max", x, axes);
/** Mean over axes, which stay as size 1. */
export function mean(x: Value, axes: readonly number[] = allAxes(x)): Value {
  const total = sum(x, axes);
  return mul(total, numel(total.shape) / numel(x.shape));
}
/** Σx² over axes, which stay as size 1. */
export const sumSquares = (x: Value, axes: readonly number[] = allAxes(x)): Value => sum(map([x], E.square), axes);
/** Removes all dimensions: a scalar of shape []. */
export const scalar = (x: Value): Value => reshape(x, []);

/** log Σ eˣ along `axis`, stable. */
export function logSumExp(x: Value, axis: number): Value {
  const top = stopGradient(max(x, [axis]));
  return add(log(sum(map([x, top], (a, m) => E.exp(E.sub(a, m))), [axis])), top);
}
/** log softmax along `axis`. */
export const logSoftmax = (x: Value, axis: number): Value => sub(x, logSumExp(x, axis));
/** Softmax along `axis`. */
export const softmax = (x: Value, axis: number): Value => exp(logSoftmax(x, axis));

// ---- linear algebra

/** [b,m,k] · [b,k,n]. */
export const matmul = (a: Value, b: Value): Value => a.graph.add("matmul", {}, [a, b])[0]!;
/** x […, k] · wᵀ for w [o, k]: the layout of a linear layer's weight. */
export function linear(x: Value, w: Value): Value {
  const [o, k] = w.shape as [number, number];
  const y = matmul(reshape(x, [1, -1, k]), view(w, { offset: 0, shape: [1, k, o], strides: [0, 1, k] }));
  return reshape(y, [...x.shape.slice(0, -1), o]);
}

/**
 * 2-D convolution of NHWC images by OIHW weights. 1×1 kernels and kernels as large as the unpadded image are matrix products.
 */
export function conv2d(x: Value, w: Value, options: { stride?: number; padding?: number } = {}): Value {
  const { stride = 1, padding = 0 } = options;
  const [o, i, k] = w.shape as [number, number, number, number];
  if (k === 1 && stride === 1 && padding === 0) return linear(x, reshape(w, [o, i]));
  if (padding === 0 && x.shape[1] === k && x.shape[2] === k && i === x.shape[3]) {
    const turned = transpose(w, [0, 2, 3, 1]);
    // One number per image: a reduction reads x at memory's speed, where a product of one column would pad it to a register tile's.
    if (o === 1) return sum(mul(x, turned), [1, 2, 3]);
    const rows = reshape(turned, [o, k * k * i]);
    return reshape(linear(reshape(x, [x.shape[0]!, k * k * i]), rows), [x.shape[0]!, 1, 1, o]);
  }
  return x.graph.add("conv", { stride, padding }, [x, w])[0]!;
}

/** Mean of each 2×2 window (sizes must be even). */
export function avgPool2(x: Value): Value {
  const [n, h, w, c] = x.shape as [number, number, number, number];
  if (h % 2 || w % 2) throw new ShapeError(`avgPool2: expected even height and width, found ${formatShape(x.shape)}`);
  return reshape(mul(sum(reshape(x, [n, h / 2, 2, w / 2, 2, c]), [2, 4]), 0.25), [n, h / 2, w / 2, c]);
}

// ---- random draws

/** What draws are keyed by: u32[4] = (seed, iteration, first sample index, 0), usually a feed. */
export type Key = Value;

/** Uniform draws in [0, 1); row n belongs to sample key[2] + n. Inside a repeat each step draws anew. */
export const uniform = (key: Key, stream: string, shape: Shape): Value =>
  key.graph.add("random", { kind: "uniform", stream, shape, loop: key.graph.depth }, [key])[0]!;
/** Standard normal draws; see {@linkcode uniform}. */
export const normal = (key: Key, stream: string, shape: Shape): Value =>
  key.graph.add("random", { kind: "normal", stream, shape, loop: key.graph.depth }, [key])[0]!;

// ---- loops

/** Options of {@linkcode repeat}. */
export interface RepeatOptions {
  /** Tensors [count, …] of which step t sees slice t. */
  readonly scanned?: readonly Value[];
  /** Step t uses (and stacks at) count − 1 − t. */
  readonly reversed?: boolean;
}

/** Results of {@linkcode repeat}: the carried tensors at the end, and each step's results stacked as [count, …]. */
export interface Repeated {
  readonly carried: readonly Value[];
  readonly stacked: readonly Value[];
}

/** `count` steps of `body` from `initial`. The body may use values from outside; what does not change moves in front of the loop. */
export function repeat(
  g: Graph,
  count: number,
  initial: readonly Value[],
  body: (
    carried: readonly Value[],
    scanned: readonly Value[],
  ) => { carried: readonly Value[]; stacked?: readonly Value[] },
  options: RepeatOptions = {},
): Repeated {
  const scanned = options.scanned ?? [];
  const shapes = [...initial.map((v) => v.shape), ...scanned.map((v) => v.shape.slice(1))];
  const region = g.region(shapes, (params) => {
    const next = body(params.slice(0, initial.length), params.slice(initial.length));
    return [...next.carried, ...(next.stacked ?? [])];
  });
  const outputs = g.add("repeat", { count, region, carried: initial.length, reversed: options.reversed ?? false }, [
    ...initial,
    ...scanned,
  ]);
  return { carried: outputs.slice(0, initial.length), stacked: outputs.slice(initial.length) };
}
