/** What fusion makes of nodes, and what such items read and make. */
import { capturesOf } from "../graph/captures.ts";
import type { Node, Value } from "../graph/graph.ts";

export type MapNode = Extract<Node, { op: "map" }>;
export type ReduceNode = Extract<Node, { op: "reduce" }>;
export type RepeatNode = Extract<Node, { op: "repeat" }>;

/** Maps of one shape that run as one kernel, and the values that others need of them. */
export interface Cluster {
  readonly nodes: readonly MapNode[];
  readonly outputs: readonly Value[];
}

/** What becomes one instruction (a repeat: one and its body). */
export type Item =
  | { readonly kind: "map"; readonly cluster: Cluster }
  | { readonly kind: "reduce"; readonly node: ReduceNode; readonly prologue: Cluster | undefined }
  | {
    readonly kind: "node";
    readonly node: Node;
    readonly epilogue: Cluster | undefined;
    /** Sums over 2×2 neighbours of epilogue results that nobody else reads. */
    readonly pools?: readonly Pool[];
  }
  | { readonly kind: "repeat"; readonly node: RepeatNode; readonly body: readonly Item[] };

/** An average (but for the factor) pooling: `from` in windows of 2×2 pixels, summed by `node`. */
export interface Pool {
  readonly from: Value;
  readonly node: ReduceNode;
}

/** The value behind windows that change nothing and stopped gradients. */
export function resolve(v: Value): Value {
  while (v.node.op === "stop_gradient") v = v.node.inputs[0]!;
  return v;
}

/** The value whose elements v's windows show. */
export function rootOf(value: Value): Value {
  let v = resolve(value);
  while (v.node.op === "view") v = resolve(v.node.inputs[0]!);
  return v;
}

/** Operands of a node and what its body captures, resolved. */
export function readsOf(node: Node): Value[] {
  const direct = node.op === "repeat" ? [...node.inputs, ...capturesOf(node.attrs.region)] : [...node.inputs];
  return direct.map(resolve);
}

/** Nodes that an item computes (a repeat: itself). */
export function nodesOf(item: Item): readonly Value["node"][] {
  switch (item.kind) {
    case "map":
      return item.cluster.nodes;
    case "reduce":
      return [...(item.prologue?.nodes ?? []), item.node];
    case "node":
      return [...(item.epilogue?.nodes ?? []), item.node, ...(item.pools ?? []).map((pool) => pool.node)];
    case "repeat":
      return [item.node];
  }
}

/** An epilogue's results, poolings in place of what they pool. */
export function resultsOf(epilogue: Cluster, pools: readonly Pool[] = []): readonly Value[] {
  return epilogue.outputs.map((v) => pools.find((pool) => pool.from === v)?.node.outputs[0] ?? v);
}

/** Values that an item makes available to others. */
export function valuesOf(item: Item): readonly Value[] {
  if (item.kind === "map") return item.cluster.outputs;
  if (item.kind === "node" && item.epilogue) return resultsOf(item.epilogue, item.pools);
  if (
    item.kind === "node" &&
    (item.node.op === "view" || item.node.op === "stop_gradient" || item.node.inputs.length === 0)
  ) return [];
  return item.node.outputs;
}
