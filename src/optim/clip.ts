/** Gradient norms and clipping, as graphs. */
import { map, scalar, sumSquares } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { UsageError } from "../errors.ts";
import { sumTree } from "../nn/sum_tree.ts";

/**
 * √Σ‖g‖² over all tensors, a scalar: one fused reduction per tensor, then a tree of sums.
 *
 * @throws {UsageError} if there are none
 */
export function globalNorm(gradients: readonly Value[]): Value {
  if (gradients.length === 0) throw new UsageError("globalNorm: expected at least one gradient, found none");
  return map([sumTree(gradients.map((v) => scalar(sumSquares(v))))], E.sqrt);
}

/** min(1, limit/(norm + 1e-6)), PyTorch's clip factor. */
export function clipFactor(norm: Value, limit: Value): Value {
  return map([norm, limit], (n, c) => E.min(E.div(c, E.add(n, 1e-6)), 1));
}
