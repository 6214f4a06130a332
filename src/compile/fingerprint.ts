/** A graph's identity across processes: what a compiled program may be cached under. */
import { createHash } from "node:crypto";
import type { Graph, Node } from "../graph/graph.ts";
import type { Attrs, Op } from "../graph/attrs.ts";
import { OPS } from "../graph/ops.ts";
import { encodeExprs } from "./expr_code.ts";
import { ABI_VERSION, OP_TABLE_HASH } from "./opcodes.ts";

function attributes(node: Node): string {
  // Interned ids differ from process to process: expressions go in as code.
  if (node.op === "map") return `${node.attrs.shape}|${encodeExprs([node.attrs.expr], node.inputs.length)}`;
  return OPS[node.op].text(node.attrs as Attrs[Op] as never);
}

/** SHA-256 (hex) over nodes, results, options, the op table and `salt` (whatever else the program depends on). */
export function fingerprint(g: Graph, options: unknown, salt: string): string {
  const hash = createHash("sha256");
  hash.update(`${ABI_VERSION} ${OP_TABLE_HASH} ${JSON.stringify(options)} ${salt}\n`);
  const visit = (nodes: readonly Node[]): void => {
    for (const node of nodes) {
      hash.update(
        `${node.op}|${attributes(node)}|${node.inputs.map((v) => v.id)}|${node.outputs[0]!.id}|${node.scope}\n`,
      );
      if (node.op === "repeat") {
        visit(node.attrs.region.nodes);
        hash.update(`yield ${node.attrs.region.results.map((v) => v.id)}\n`);
      }
    }
  };
  visit(g.nodes);
  for (const r of g.results) hash.update(`${r.kind} ${r.name} ${r.value.id}\n`);
  return hash.digest("hex");
}
