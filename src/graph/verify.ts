/** Checks what every pass must preserve. Run after each pass in tests. */
import { ShapeError } from "../errors.ts";
import type { Graph, Node, Value } from "./graph.ts";
import type { Attrs, Op } from "./attrs.ts";
import { OPS } from "./ops.ts";
import { formatShape, sameShape } from "./shape.ts";

function verifyBlock(nodes: readonly Node[], visible: Set<Value>): void {
  for (const node of nodes) {
    for (const v of node.inputs) {
      if (!visible.has(v)) {
        throw new ShapeError(`verify: expected operands defined before use, found %${v.id} used early by ${node.op}`);
      }
    }
    const shapes = OPS[node.op].shapes(node.attrs as Attrs[Op] as never, node.inputs);
    node.outputs.forEach((v, i) => {
      const want = shapes[i];
      if (
        !want || !sameShape(want.shape, v.shape) || (want.dtype ?? "f32") !== v.dtype || v.node !== node ||
        v.index !== i
      ) {
        throw new ShapeError(
          `verify: expected result ${i} of ${node.op} to be ${want ? formatShape(want.shape) : "absent"}, found ${
            formatShape(v.shape)
          }`,
        );
      }
    });
    if (node.op === "repeat") {
      const { region } = node.attrs;
      const inner = new Set(visible);
      verifyBlock(region.nodes, inner);
      for (const v of region.results) {
        if (!inner.has(v)) {
          throw new ShapeError(`verify: expected the results of a repeat inside its body, found %${v.id}`);
        }
      }
    }
    for (const v of node.outputs) visible.add(v);
  }
}

/** Throws ShapeError unless operands precede uses, every shape follows its rule, and assignments fit their states. */
export function verifyGraph(g: Graph): void {
  const visible = new Set<Value>();
  verifyBlock(g.nodes, visible);
  const states = new Map(g.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, n.attrs.shape] as const] : [])));
  for (const r of g.results) {
    if (!visible.has(r.value)) {
      throw new ShapeError(`verify: expected the value of ${r.kind} "${r.name}" in the graph, found %${r.value.id}`);
    }
    const shape = r.kind === "assign" ? states.get(r.name) : undefined;
    if (shape && !sameShape(shape, r.value.shape)) {
      throw new ShapeError(
        `verify: expected ${formatShape(shape)} for state "${r.name}", found ${formatShape(r.value.shape)}`,
      );
    }
  }
}
