/** Gradient norms and clipping, as graphs. */
import { map, scalar, sumSquares } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { UsageError } from "../errors.ts";

// One fused instruction takes at most 16 operands.
const FAN_IN = 16;

/** Sum of scalars in a tree of wide maps. */
function sumScalars(terms: readonly Value[]): Value {
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

/**
 * √Σ‖g‖² over all tensors, a scalar: one fused reduction per tensor, then a tree of sums.
 *
 * @throws {UsageError} if there are none
 */
export function globalNorm(gradients: readonly Value[]): Value {
  if (gradients.length === 0) throw new UsageError("globalNorm: expected at least one gradient, found none");
  return map([sumScalars(gradients.map((v) => scalar(sumSquares(v))))], E.sqrt);
}

/** min(1, limit/(norm + 1e-6)), PyTorch's clip factor. */
export function clipFactor(norm: Value, limit: Value): Value {
  return map([norm, limit], (n, c) => E.min(E.div(c, E.add(n, 1e-6)), 1));
}
