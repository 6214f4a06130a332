/** Copies of nodes with other operands. */
import { ShapeError } from "../errors.ts";
import type { Graph, Node, Value } from "../graph/graph.ts";
import type { Attrs, Op } from "../graph/attrs.ts";

/** Appends copies of `nodes` with operands replaced by `at` (extended with the copies' results). */
export function replay(g: Graph, nodes: readonly Node[], at: Map<Value, Value>, fresh = false): void {
  const look = (v: Value): Value => at.get(v) ?? v;
  for (const node of nodes) {
    if (node.op === "param" && at.has(node.outputs[0]!)) continue;
    let attrs = node.attrs as Attrs[Op];
    if (node.op === "repeat") {
      const { region } = node.attrs;
      const copy = g.region(region.params.map((p) => p.shape), (params) => {
        region.params.forEach((p, i) => at.set(p, params[i]!));
        replay(g, region.nodes, at, fresh);
        return region.results.map(look);
      });
      attrs = { ...node.attrs, region: copy };
    } else if ("loop" in node.attrs && node.attrs.loop > 0) {
      throw new ShapeError(
        `${node.op} "${node.attrs.stream}": expected a loop without random draws to differentiate through, found one that draws; feed the noise as a scanned tensor`,
      );
    }
    const outputs = g.scoped(
      g.scope === "" ? node.scope : "",
      () => g.add(node.op, attrs as never, node.inputs.map(look), { fresh }),
    );
    node.outputs.forEach((v, i) => at.set(v, outputs[i]!));
  }
}
