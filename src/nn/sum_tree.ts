/** Sums of many tensors of one shape. */
import { map } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";

// Fewer than the 16 operands that one fused instruction may have, so that a neighbour can still be fused.
const FAN_IN = 8;

/** Sum of tensors of one shape (at least one) in a tree of wide maps: few and shallow instructions for thousands of terms. */
export function sumTree(terms: readonly Value[]): Value {
  let level = [...terms];
  while (level.length > 1) {
    const next: Value[] = [];
    for (let i = 0; i < level.length; i += FAN_IN) {
      next.push(map(level.slice(i, i + FAN_IN), (...x: Expr[]) => x.reduce((a, b) => E.add(a, b))));
    }
    level = next;
  }
  return level[0]!;
}
