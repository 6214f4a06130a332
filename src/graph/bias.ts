/** Telling biases from other sums. */
import type { Node, Value } from "./graph.ts";

/** What a map adds a bias to, a state's vector that is the same at every position; undefined if the node is no such map. */
export function biasedBy(node: Node): Value | undefined {
  if (node.op !== "map" || node.inputs.length !== 2) return undefined;
  const { expr } = node.attrs;
  if (expr.kind !== "op" || expr.op !== "add" || expr.args.some((a) => a.kind !== "input")) return undefined;
  const isBias = ({ node: wide }: Value): boolean =>
    wide.op === "view" && wide.inputs[0]!.node.op === "state" &&
    wide.attrs.layout.strides.every((s, k, { length }) => s === (k === length - 1 ? 1 : 0));
  const [x, y] = node.inputs as [Value, Value];
  return isBias(y) ? x : isBias(x) ? y : undefined;
}
