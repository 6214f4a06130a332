/** Lowering of the ops that have kernels of their own: operands made dense where kernels want it, attributes as words. */
import { type Expr, input, inputsOf, replace, substitute } from "../graph/expr.ts";
import type { Node, Value } from "../graph/graph.ts";
import { composeLayouts, isDense, type Layout, numel, type Shape } from "../graph/shape.ts";
import { wholeLayout } from "../graph/ops.ts";
import { streamHash } from "../random.ts";
import { encodeExprs } from "./expr_code.ts";
import type { Cluster, Pool } from "./items.ts";
import { floatBits, type Window } from "./lir.ts";
import type { ProgramOp } from "./opcodes.ts";

/** What the lowering offers to these functions. */
export interface Emitter {
  readonly winograd: boolean;
  readonly tiles: boolean;
  alloc(shape: Shape): Window;
  windowOf(v: Value): Window;
  /** A window without holes: v's own, or a copy. */
  dense(v: Value): Window;
  hoist(v: Value, key: string, make: () => Window): Window;
  push(
    op: ProgramOp,
    name: string,
    inputs: readonly Window[],
    outputs: readonly Window[],
    attrs: readonly number[],
  ): void;
  result(v: Value, accepts: (layout: Layout) => boolean): Window;
  code(cluster: Cluster, first: readonly Value[]): { operands: Value[]; exprs: Expr[] };
}

/** The window seen in another shape of as many elements, if its strides allow it. */
export const as = (w: Window, shape: Shape): Window | undefined => {
  const layout = composeLayouts(w.layout, wholeLayout(shape));
  return layout && { ...w, layout };
};

/** Transformed weights as three bfloat16 a value pay while they stay in a second-level cache of 2 MB beside what they are multiplied with (floats)… */
const MOST_PARTS = 2 ** 18;
/** …and for so many tiles of 4×4 pixels that making them does not show. */
const FEWEST_TILES = 256;

/** Winograd pays when both sides have channels enough to fill vectors. */
const fitsWinograd = (e: Emitter, [o, i, kh]: Shape, stride: number, padding: number): boolean =>
  e.winograd && kh === 3 && stride === 1 && padding === 1 && o! >= 16 && i! >= 16;

/** Weights of a convolution that makes `out`, transformed. */
function winogradWeights(e: Emitter, w: Value, out: Shape, dataGrad: boolean): Window {
  const [o, i] = w.shape as [number, number, number, number], [n, height, width] = out as [number, number, number];
  const [summed, made] = dataGrad ? [o, i] : [i, o];
  const up = (size: number, to: number): number => Math.ceil(size / to) * to;
  const parts = 54 * up(summed, 32) * up(made, 32);
  const split = e.tiles && parts <= MOST_PARTS && n * Math.ceil(height / 4) * Math.ceil(width / 4) >= FEWEST_TILES;
  return e.hoist(w, `winograd ${w.id} ${dataGrad} ${split}`, () => {
    const u = e.alloc([split ? parts : 36 * up(summed, 16) * up(made, 32)]);
    e.push("winograd_weights", w.node.scope, [e.dense(w)], [u], [dataGrad ? 1 : 0]);
    return u;
  });
}

/** NHWC windows whose pixels lie at one distance: dense tensors and channel windows of wider ones. */
function pixelWindow(l: Layout): boolean {
  const [, h, w] = l.shape, [sn, sh, sw, sc] = l.strides;
  const ok = (size: number, have: number, want: number): boolean => size === 1 || have === want;
  return ok(l.shape[3]!, sc!, 1) && ok(h!, sh!, sw! * w!) && ok(l.shape[0]!, sn!, sw! * w! * h!);
}

interface Epilogue {
  /** Added to every pixel, if the result is used in no other way. */
  readonly bias: readonly Window[];
  readonly inputs: readonly Window[];
  readonly code: readonly number[];
  readonly outputs: readonly Value[];
}

const NO_EPILOGUE = { bias: [], inputs: [], code: [] } as const;

/** The operand that the expressions add to the op's own result wherever they use it, if there is one. */
function addend(exprs: readonly Expr[]): { index: number; exprs: Expr[] } | undefined {
  const result = input(0);
  const sums = new Set<Expr>();
  const seen = new Set<Expr>();
  const visit = (e: Expr): boolean => {
    if (seen.has(e)) return true;
    seen.add(e);
    if (e === result) return false;
    if (e.kind !== "op") return true;
    if (e.op === "add" && e.args.includes(result)) {
      sums.add(e);
      return e.args.every((a) => a === result || visit(a));
    }
    return e.args.every(visit);
  };
  if (!exprs.every(visit) || sums.size !== 1) return undefined;
  const [sum] = sums;
  const other = sum!.kind === "op" ? sum!.args.find((a) => a !== result) : undefined;
  return other?.kind === "input"
    ? { index: other.index, exprs: exprs.map((e) => replace(e, sum!, result)) }
    : undefined;
}

/** Operands of an epilogue in the shape of the op's result; undefined when one cannot be read that way. */
function epilogueOf(e: Emitter, result: Value, cluster: Cluster, shape: Shape): Epilogue | undefined {
  const behind = cluster.nodes.flatMap((n) => n.inputs).find((v) =>
    v === result || (v.node.op === "view" && v.node.inputs[0] === result)
  );
  if (!behind) return undefined;
  const { operands, exprs } = e.code(cluster, [behind]);
  const inputs: Window[] = [];
  for (const v of operands.slice(1)) {
    const w = as(e.windowOf(v), shape);
    const last = w?.layout.strides.at(-1);
    if (!w || (last !== 0 && last !== 1)) return undefined;
    inputs.push(w);
  }
  const outputs = cluster.outputs;
  // Kernels add a bias as they go; as an operand it would be repeated for every pixel.
  const plus = addend(exprs);
  const at = plus && inputs[plus.index - 1];
  const perChannel = at && at.layout.strides.every((s, k) => (k === shape.length - 1 ? s === 1 : s === 0)) &&
    at.loops.every((s) => s === 0) && !plus.exprs.some((x) => inputsOf(x).includes(plus.index));
  if (!perChannel) return { bias: [], inputs, code: encodeExprs(exprs, operands.length), outputs };
  const bias = { ...at, layout: { offset: at.layout.offset, shape: [shape.at(-1)!], strides: [1] } };
  const rest = inputs.filter((_, k) => k !== plus.index - 1);
  const exprsOfRest = plus.exprs.map((x) => substitute(x, (k) => input(k > plus.index ? k - 1 : k)));
  const bare = exprsOfRest.length === 1 && exprsOfRest[0] === input(0);
  return { bias: [bias], inputs: rest, code: bare ? [] : encodeExprs(exprsOfRest, rest.length + 1), outputs };
}

/** Windows for an epilogue's (or the op's own) results, in the op's shape. */
function outputsOf(e: Emitter, values: readonly Value[], shape: Shape, accepts: (l: Layout) => boolean): Window[] {
  return values.map((v) => {
    const w = e.result(v, (l) => {
      const seen = composeLayouts(l, wholeLayout(shape));
      return seen !== undefined && accepts(seen);
    });
    return as(w, shape)!;
  });
}

const rowWindow = (l: Layout): boolean => l.shape[2] === 1 || l.strides[2] === 1;

function emitMatmul(e: Emitter, node: Node, cluster: Cluster | undefined): boolean {
  const [out] = node.outputs as [Value];
  const epilogue = cluster && epilogueOf(e, out, cluster, out.shape);
  if (cluster && !epilogue) return false;
  const operand = (v: Value): Window => {
    const w = e.windowOf(v);
    const { shape, strides } = w.layout;
    const ok = shape[2] === 1 || strides[2] === 1 || shape[1] === 1 || strides[1] === 1;
    return ok ? w : e.dense(v);
  };
  const { bias, inputs, code } = epilogue ?? NO_EPILOGUE;
  const outputs = outputsOf(e, epilogue?.outputs ?? [out], out.shape, rowWindow);
  e.push("matmul", node.scope, [...node.inputs.map(operand), ...bias, ...inputs], outputs, [bias.length, ...code]);
  return true;
}

function emitConv(
  e: Emitter,
  node: Extract<Node, { op: "conv" | "conv_data_grad" }>,
  cluster: Cluster | undefined,
  pools: readonly Pool[],
): boolean {
  const [out] = node.outputs as [Value];
  const [x, w] = node.inputs as [Value, Value];
  const back = node.op === "conv_data_grad";
  const [o, i, kh, kw] = w.shape as [number, number, number, number];
  const { stride, padding } = node.attrs;
  const winograd = fitsWinograd(e, w.shape, stride, padding);
  // Only there are neighbouring rows in one pair of hands.
  if (pools.length > 0 && !winograd) return false;
  const epilogue = cluster && epilogueOf(e, out, cluster, out.shape);
  if (cluster && !epilogue) return false;
  const { bias, inputs, code } = epilogue ?? NO_EPILOGUE;
  const weights = winograd ? winogradWeights(e, w, out.shape, back) : e.dense(w);
  let pooled = 0;
  const outputs = (epilogue?.outputs ?? [out]).flatMap((v, k) => {
    const pool = pools.find((p) => p.from === v);
    if (!pool) return outputsOf(e, [v], out.shape, back ? isDense : pixelWindow);
    pooled |= 1 << k;
    const [n, h, width, c] = out.shape as [number, number, number, number];
    return outputsOf(e, [pool.node.outputs[0]!], [n, h / 2, width / 2, c], isDense);
  });
  const attrs = [stride, padding, winograd ? 1 : 0, o, i, kh, kw, bias.length | (pooled << 8)];
  const words = pooled && code.length === 0 ? encodeExprs([input(0)], 1) : code;
  e.push(node.op, node.scope, [e.dense(x), weights, ...bias, ...inputs], outputs, [...attrs, ...words]);
  return true;
}

/** Emits the instruction of a node; false when epilogue or poolings cannot be part of it (nothing was emitted then). */
export function emitNode(
  e: Emitter,
  node: Node,
  epilogue: Cluster | undefined,
  pools: readonly Pool[] = [],
): boolean {
  const plain = (op: ProgramOp, attrs: readonly number[]): boolean => {
    const inputs = node.inputs.map((v) => e.dense(v));
    e.push(op, node.scope, inputs, node.outputs.map((v) => e.result(v, isDense)), attrs);
    return true;
  };
  switch (node.op) {
    case "feed":
    case "state":
    case "param":
    case "constant":
    case "view":
    case "stop_gradient":
      return true;
    case "matmul":
      return emitMatmul(e, node, epilogue);
    case "conv":
    case "conv_data_grad":
      return emitConv(e, node, epilogue, pools);
    case "conv_weight_grad": {
      const { stride, padding, kernel } = node.attrs;
      const [o, i] = node.outputs[0]!.shape as [number, number];
      const winograd = fitsWinograd(e, node.outputs[0]!.shape, stride, padding);
      return plain("conv_weight_grad", [stride, padding, winograd ? 1 : 0, o, i, kernel, kernel]);
    }
    case "random":
      return plain("random", [node.attrs.kind === "uniform" ? 0 : 1, streamHash(node.attrs.stream), node.attrs.loop]);
    case "layer_norm":
    case "layer_norm_grad":
      return plain(node.op, [floatBits(node.attrs.eps)]);
    case "attention": {
      const { heads, dropout, stream, loop } = node.attrs;
      return plain("attention", [heads, floatBits(dropout), streamHash(stream), loop]);
    }
    case "attention_grad":
      return plain("attention_grad", [node.attrs.heads, floatBits(node.attrs.dropout)]);
    case "mixture":
    case "mixture_grad":
    case "mixture_inverse":
      return plain(node.op, [node.attrs.components]);
    case "matrix_inverse":
    case "log_abs_det":
      return plain(node.op, []);
    default:
      throw new Error(`lower: ${node.op} has no instruction of its own (${numel(node.outputs[0]!.shape)} elements)`);
  }
}
