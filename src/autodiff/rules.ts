/** One gradient rule per op, or an explicit "not differentiable". */
import { ShapeError } from "../errors.ts";
import * as b from "../graph/build.ts";
import { derivative, E, input } from "../graph/expr.ts";
import type { Node, Value } from "../graph/graph.ts";
import type { Op } from "../graph/attrs.ts";
import { isInjective } from "../graph/ops.ts";
import { denseStrides, type Layout, numel, type Shape } from "../graph/shape.ts";
import type { Contribution, Vjp } from "./contract.ts";
import { addsBias } from "./recompute.ts";
import { pullRepeat } from "./repeat.ts";

type NodeOf<K extends Op> = Extract<Node, { op: K }>;
type Needs = (v: Value) => boolean;
/** Cotangents of the results (undefined: none arrived) to contributions for operands that are needed. */
type Rule<K extends Op> = (
  node: NodeOf<K>,
  cotangents: readonly (Value | undefined)[],
  needs: Needs,
  vjp: Vjp,
) => (Value | undefined)[];

const none = (): undefined[] => [];

function refuse(reason: string): (node: Node) => never {
  return (node) => {
    throw new ShapeError(`grad: ${node.op}${node.scope ? ` in ${node.scope}` : ""} is not differentiable: ${reason}`);
  };
}

const secondOrder = refuse(
  "it is a fused backward operation, and second derivatives exist for convolution, products, maps, reductions and windows only",
);

const transposed = (x: Value): Value => b.transpose(x, [0, 2, 1]);

/** Whether a window only reorders its tensor: the inverse is then a window too. Returns the order of dimensions by falling stride. */
function permutation(layout: Layout, size: number): number[] | undefined {
  if (layout.offset !== 0 || numel(layout.shape) !== size) return undefined;
  const order = layout.shape.map((_, i) => i).sort((p, q) =>
    layout.strides[q]! - layout.strides[p]! || layout.shape[p]! - layout.shape[q]!
  );
  const sorted: Shape = order.map((i) => layout.shape[i]!);
  const dense = denseStrides(sorted);
  return order.every((i, k) => sorted[k] === 1 || layout.strides[i] === dense[k]) ? order : undefined;
}

function pullView(node: NodeOf<"view">, dy: Value): Value {
  const x = node.inputs[0]!;
  const { layout } = node.attrs;
  const repeated = layout.shape.flatMap((d, i) => (d > 1 && layout.strides[i] === 0 ? [i] : []));
  const dz = b.sum(dy, repeated);
  const seen: Layout = { ...layout, shape: dz.shape };
  const order = permutation(seen, numel(x.shape));
  if (order) return b.reshape(b.transpose(dz, order), x.shape);
  if (!isInjective(seen)) return refuse("its window overlaps itself")(node);
  return b.assemble(x.shape, [{ value: dz, layout: seen }]);
}

/** B of A·B is often a transposed window on a weight: its gradient is then computed in the weight's own order. */
function pullMatmul(a: Value, w: Value, dc: Value): [Value, Value] {
  const da = b.matmul(dc, transposed(w));
  const turned = w.node.op === "view" && w.node.attrs.layout.strides[1]! < w.node.attrs.layout.strides[2]!;
  return [da, turned ? transposed(b.matmul(transposed(dc), a)) : b.matmul(transposed(a), dc)];
}

const SWISH = E.swish(input(0));

/**
 * Whether a map's slope takes the place of its operand in memory: swish of a biased result, which nothing else reads on the way back. The slope costs a quarter
 * more beside the value, and everything without it.
 */
const keepsSlope = (node: NodeOf<"map">): boolean => node.attrs.expr === SWISH && addsBias(node.inputs[0]!.node);

const RULES: { readonly [K in Op]: Rule<K> } = {
  feed: none,
  state: none,
  param: none,
  constant: none,
  random: none,
  stop_gradient: none,
  map: (node, [dy], needs) =>
    node.inputs.map((x, i) => {
      if (!needs(x)) return undefined;
      const slope = derivative(node.attrs.expr, i);
      const { shape } = node.attrs;
      if (node.depth === 0 && !keepsSlope(node)) {
        return b.mapExpr(x.graph, [...node.inputs, dy!], E.mul(input(node.inputs.length), slope), shape);
      }
      // A slope of its own is made beside the map, and kept instead of the operand: in a loop's body, where the way back is short, and where σ(x) is dear.
      const local = b.mapExpr(x.graph, node.inputs, slope, shape);
      return b.mul(dy!, local);
    }),
  reduce: (node, [dy]) => {
    const x = node.inputs[0]!;
    const wide = b.broadcast(dy!, x.shape);
    if (node.attrs.kind === "sum") return [wide];
    // Ties share evenly, as PyTorch's amax does.
    const hit = b.map([x, node.outputs[0]!], E.eq);
    return [b.map([hit, wide, b.sum(hit, node.attrs.axes)], (h, d, n) => E.div(E.mul(h, d), n))];
  },
  view: (node, [dy]) => [pullView(node, dy!)],
  assemble: (node, [dy], needs) =>
    node.attrs.parts.map((layout, i) => (needs(node.inputs[i]!) ? b.view(dy!, layout) : undefined)),
  matmul: (node, [dc]) => pullMatmul(node.inputs[0]!, node.inputs[1]!, dc!),
  conv: (node, [dy]) => {
    const [x, w] = node.inputs as [Value, Value];
    const { stride, padding } = node.attrs;
    const g = x.graph;
    return [
      g.add("conv_data_grad", { stride, padding, height: x.shape[1]!, width: x.shape[2]! }, [dy!, w])[0],
      g.add("conv_weight_grad", { stride, padding, kernel: w.shape[2]! }, [x, dy!])[0],
    ];
  },
  conv_data_grad: (node, [u]) => {
    const [dy, w] = node.inputs as [Value, Value];
    const { stride, padding } = node.attrs;
    const g = dy.graph;
    return [
      g.add("conv", { stride, padding }, [u!, w])[0],
      g.add("conv_weight_grad", { stride, padding, kernel: w.shape[2]! }, [u!, dy])[0],
    ];
  },
  conv_weight_grad: (node, [u]) => {
    const [x, dy] = node.inputs as [Value, Value];
    const { stride, padding } = node.attrs;
    const g = x.graph;
    return [
      g.add("conv_data_grad", { stride, padding, height: x.shape[1]!, width: x.shape[2]! }, [dy, u!])[0],
      g.add("conv", { stride, padding }, [x, u!])[0],
    ];
  },
  layer_norm: (node, [dy]) => {
    const [x, gain] = node.inputs as [Value, Value];
    return [...x.graph.add("layer_norm_grad", node.attrs, [x, gain, dy!])];
  },
  layer_norm_grad: secondOrder,
  attention: (node, [dout, dlse]) => {
    if (dlse) return refuse("its log-sum-exp is kept for the backward pass only")(node);
    const kvq = node.inputs[0]!;
    const [out, lse, ...kept] = node.outputs as [Value, Value, ...Value[]];
    const { heads, dropout } = node.attrs;
    return [kvq.graph.add("attention_grad", { heads, dropout }, [kvq, out, lse, dout!, ...kept])[0]];
  },
  attention_grad: secondOrder,
  mixture: (node, [dy, dlogdet]) => {
    const [x, p, rescale] = node.inputs as [Value, Value, Value];
    const [y, logdet] = node.outputs as [Value, Value];
    const zero = (v: Value): Value => b.fill(v.graph, 0, v.shape);
    return [...x.graph.add("mixture_grad", node.attrs, [x, p, rescale, dy ?? zero(y), dlogdet ?? zero(logdet)])];
  },
  mixture_grad: secondOrder,
  mixture_inverse: refuse("training differentiates the density direction only"),
  matrix_inverse: (node, [dy]) => {
    const n = dy!.shape[0]!;
    const inv = transposed(b.reshape(node.outputs[0]!, [1, n, n]));
    return [b.reshape(b.neg(b.matmul(b.matmul(inv, b.reshape(dy!, [1, n, n])), inv)), [n, n])];
  },
  log_abs_det: (node, [dy]) => {
    const w = node.inputs[0]!;
    const inv = w.graph.add("matrix_inverse", {}, [w])[0]!;
    return [b.mul(b.transpose(inv, [1, 0]), b.reshape(dy!, [1, 1]))];
  },
  repeat: () => [], // handled by pullRepeat: it also reaches what the body captures
};

/** Applies the node's rule. */
export function pullback(
  node: Node,
  cotangents: readonly (Value | undefined)[],
  needs: Needs,
  vjp: Vjp,
): Contribution[] {
  if (node.op === "repeat") return pullRepeat(node, cotangents, needs, vjp);
  const rule = RULES[node.op] as Rule<Op>;
  const parts = rule(node as never, cotangents, needs, vjp);
  return parts.flatMap((value, i) => {
    const to = node.inputs[i]!;
    return value && needs(to) ? [{ to, value }] : [];
  });
}
