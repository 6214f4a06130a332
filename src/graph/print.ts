/** Text of a graph: one node a line. Tests assert on it. */
import type { Graph, Node, Value } from "./graph.ts";
import { formatAttrs } from "./ops.ts";
import { formatShape } from "./shape.ts";

const name = (v: Value): string => `%${v.id}`;

function lines(nodes: readonly Node[], indent: string, out: string[]): void {
  for (const node of nodes) {
    const left = node.outputs.map((v) => `${name(v)}: ${v.dtype}[${formatShape(v.shape)}]`).join(", ");
    const attrs = formatAttrs(node.op, node.attrs as never);
    out.push(`${indent}${left} = ${node.op}(${node.inputs.map(name).join(", ")})${attrs ? ` {${attrs}}` : ""}`);
    if (node.op === "repeat") {
      const { region } = node.attrs;
      lines(region.nodes, indent + "  ", out);
      out.push(`${indent}  yield ${region.results.map(name).join(", ")}`);
    }
  }
}

/** Prints all nodes in order, then the results. */
export function printGraph(g: Graph): string {
  const out: string[] = [];
  lines(g.nodes, "", out);
  for (const r of g.results) out.push(`${r.kind} "${r.name}" ${name(r.value)}`);
  return out.join("\n");
}
