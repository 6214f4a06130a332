/** What a repeat's body reads from outside. */
import type { Node, Region, Value } from "./graph.ts";

const known = new WeakMap<Region, readonly Value[]>();

/** Values from outside that the body reads (nested bodies included), in order of first use. */
export function capturesOf(region: Region): readonly Value[] {
  let captures = known.get(region);
  if (!captures) {
    const found = new Set<Value>();
    const inside = new Set<Value>(region.params);
    const visit = (nodes: readonly Node[]): void => {
      for (const node of nodes) {
        for (const v of node.inputs) if (!inside.has(v)) found.add(v);
        if (node.op === "repeat") {
          for (const p of node.attrs.region.params) inside.add(p);
          visit(node.attrs.region.nodes);
          for (const v of node.attrs.region.results) if (!inside.has(v)) found.add(v);
        }
        for (const v of node.outputs) inside.add(v);
      }
    };
    visit(region.nodes);
    for (const v of region.results) if (!inside.has(v)) found.add(v);
    captures = [...found];
    known.set(region, captures);
  }
  return captures;
}
