/** Reverse-mode differentiation from graph to graph: results are ordinary values, so gradients of gradients work wherever rules exist. */
import { ShapeError } from "../errors.ts";
import * as b from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Node, Value } from "../graph/graph.ts";
import { type Layout, numel, sameShape } from "../graph/shape.ts";
import type { Contribution } from "./contract.ts";
import { disjoint } from "./disjoint.ts";
import { capturesOf } from "../graph/captures.ts";
import { Recomputed } from "./recompute.ts";
import { pullback } from "./rules.ts";

/** An output and what multiplies it. */
export interface Seed {
  readonly value: Value;
  readonly cotangent: Value;
}

/** Everything a node reads: operands and, for a repeat, what its body captures. */
function reads(node: Node): readonly Value[] {
  return node.op === "repeat" ? [...node.inputs, ...capturesOf(node.attrs.region)] : node.inputs;
}

/** Nodes between `wrt` and the outputs, last first. */
function path(outputs: readonly Value[], wrt: ReadonlySet<Value>): Node[] {
  const depends = new Map<Node, boolean>();
  const stack: Node[] = outputs.map((v) => v.node);
  while (stack.length > 0) {
    const node = stack[stack.length - 1]!;
    if (depends.has(node)) {
      stack.pop();
      continue;
    }
    const pending = node.op === "stop_gradient"
      ? []
      : reads(node).filter((v) => !depends.has(v.node)).map((v) => v.node);
    if (pending.length > 0) {
      stack.push(...pending);
      continue;
    }
    stack.pop();
    const does = node.op !== "stop_gradient" && reads(node).some((v) => wrt.has(v) || depends.get(v.node) === true);
    depends.set(node, does);
  }
  const nodes = [...depends].filter(([, does]) => does).map(([node]) => node);
  return nodes.sort((p, q) => q.outputs[0]!.id - p.outputs[0]!.id);
}

/** Adds contributions; zero-padded pieces that do not overlap are joined instead, which costs nothing. */
function total(parts: readonly Value[]): Value {
  const pieces = parts.filter((v) => v.node.op === "assemble");
  const others = parts.filter((v) => v.node.op !== "assemble");
  const joined: { value: Value; layout: Layout }[] = [];
  for (const piece of pieces) {
    if (piece.node.op !== "assemble") continue;
    const { parts: layouts } = piece.node.attrs;
    const shape = piece.shape;
    const fits = layouts.every((l) => joined.every((j) => disjoint(shape, j.layout, l)));
    if (fits) layouts.forEach((layout, i) => joined.push({ value: piece.node.inputs[i]!, layout }));
    else others.push(piece);
  }
  if (joined.length > 0) others.push(b.assemble(pieces[0]!.shape, joined));
  let sum = others[0]!;
  for (let i = 1; i < others.length; i++) sum = b.add(sum, others[i]!);
  return sum;
}

/**
 * Σ_k ⟨cotangent_k, ∂outputs_k/∂wrt_j⟩ for each j: zeros where nothing depends on it.
 * Throws ShapeError when the path crosses an op without a gradient rule.
 */
export function vjp(seeds: readonly Seed[], wrt: readonly Value[]): Value[] {
  const targets = new Set(wrt);
  const received = new Map<Value, Value[]>();
  const give = ({ to, value }: Contribution): void => {
    if (!sameShape(to.shape, value.shape)) {
      throw new ShapeError(`grad: expected a cotangent of ${to.shape}, found ${value.shape} (for ${to.node.op})`);
    }
    const list = received.get(to);
    if (list) list.push(value);
    else received.set(to, [value]);
  };
  const take = (v: Value): Value | undefined => {
    const list = received.get(v);
    if (!list) return undefined;
    const sum = list.length === 1 ? list[0]! : total(list);
    received.set(v, [sum]);
    return sum;
  };
  for (const { value, cotangent } of seeds) give({ to: value, value: cotangent });
  const recomputed = new Recomputed();
  const onPath = path(seeds.map((s) => s.value), targets);
  const nodes = new Set(onPath);
  const needs = (v: Value): boolean => targets.has(v) || nodes.has(v.node);
  for (const node of onPath) {
    // An output that is itself a target keeps its sum: it is read at the end, and passed on here.
    const cotangents = node.outputs.map(take);
    if (cotangents.every((c) => c === undefined)) continue;
    const graph = node.outputs[0]!.graph;
    graph.scoped(graph.scope === "" ? node.scope : "", () => {
      const parts = pullback(recomputed.again(node), cotangents, (v) => needs(recomputed.original(v)), vjp);
      for (const { to, value } of parts) give({ to: recomputed.original(to), value });
    });
  }
  return wrt.map((v) => take(v) ?? b.fill(v.graph, 0, v.shape));
}

/**
 * ∂y/∂wrt for a scalar y (any shape of one element), or Σ cotangent·∂y/∂wrt.
 * Throws ShapeError when y is not a scalar and no cotangent is given.
 */
export function grad(y: Value, wrt: readonly Value[], cotangent?: Value): Value[] {
  if (!cotangent && numel(y.shape) !== 1) {
    throw new ShapeError(`grad: expected a scalar, found ${y.shape}; give a cotangent`);
  }
  return vjp([{ value: y, cotangent: cotangent ?? b.fill(y.graph, 1, y.shape) }], wrt);
}

/** Hessian-vector product ∇²y·v with respect to x. */
export function hvp(y: Value, x: Value, v: Value): Value {
  const [g] = grad(y, [x]);
  return grad(b.sum(b.map([g!, v], E.mul)), [x])[0]!;
}
