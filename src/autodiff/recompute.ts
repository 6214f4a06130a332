/** What gradients compute again instead of keeping: marked segments, and large element-wise results. */
import { biasedBy } from "../graph/bias.ts";
import type { Graph, Node, Segment, Value } from "../graph/graph.ts";
import { isDense, numel } from "../graph/shape.ts";
import { replay } from "./replay.ts";

/** Elements from which a map is made again: a pass over what it reads costs less than the memory from the forward pass to its gradient. */
const LARGE = 1 << 15;

/** Whether a node adds a bias to what a product or convolution made: that is done as the result is written, and kept in its place. */
export function addsBias(node: Node): boolean {
  const made = (v: Value): boolean =>
    v.node.op === "view" ? isDense(v.node.attrs.layout) && made(v.node.inputs[0]!) : /^(conv|matmul)$/.test(v.node.op);
  const biased = biasedBy(node);
  return biased !== undefined && made(biased);
}

/**
 * The operands that one backward pass reads. Rules see second runs of
 * - the nodes that {@linkcode Graph.recomputed} marked;
 * - large maps, through windows and assemblies of them: the same bits, from operands that products, convolutions and norms made, which are kept.
 *
 * At top level only: a loop's body has too little in memory to pay for the time.
 */
export class Recomputed {
  readonly #segments = new Set<Segment>();
  /** Second runs by first. */
  readonly #copies = new Map<Value, Value>();
  readonly #originals = new Map<Value, Value>();

  /** The node as its rule is to see it: with operands (inside a segment: results too) of second runs. */
  again(node: Node): Node {
    const g = node.outputs[0]!.graph;
    if (node.depth !== 0 || g.depth !== 0) return node;
    if (node.segment) return this.#rerun(g, node.segment, node);
    if (node.op === "repeat") return node;
    const inputs = node.inputs.map((v) => this.#remade(v));
    return { ...node, inputs } as Node;
  }

  /** The value whose second run this is, or the value itself. */
  original(v: Value): Value {
    return this.#originals.get(v) ?? v;
  }

  #rerun(g: Graph, segment: Segment, node: Node): Node {
    if (!this.#segments.has(segment)) {
      this.#segments.add(segment);
      const copies = new Map<Value, Value>();
      replay(g, segment.nodes.filter((n) => n.inputs.length > 0), copies, true);
      for (const [first, second] of copies) this.#remember(first, second);
    }
    return this.#copies.get(node.outputs[0]!)!.node;
  }

  #remade(v: Value): Value {
    const known = this.#copies.get(v);
    if (known) return known;
    const { node } = v;
    const { op } = node;
    if (node.depth !== 0 || node.segment || node.inputs.length === 0) return v;
    if (op !== "view" && op !== "assemble" && !(op === "map" && numel(v.shape) >= LARGE)) return v;
    if (addsBias(node)) return v;
    const inputs = node.inputs.map((x) => this.#remade(x));
    const same = op !== "map" && inputs.every((x, i) => x === node.inputs[i]);
    if (same) return v;
    const { graph } = v;
    const second = graph.scoped(
      graph.scope === "" ? node.scope : "",
      () => graph.add(op, node.attrs as never, inputs, { fresh: true })[0]!,
    );
    this.#remember(v, second);
    return second;
  }

  #remember(first: Value, second: Value): void {
    this.#copies.set(first, second);
    this.#originals.set(second, first);
  }
}
