/** The Langevin flow: short-run MCMC on the energy-based model, started from given images (CoopFlow §3.2). */
import { grad } from "../autodiff/grad.ts";
import { map, repeat, scalar, sum } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { deltasOf, type LangevinOptions, type LangevinResult, noiseOf, resultOf, stackedOf } from "./chain.ts";
import { metropolis } from "./metropolis.ts";

export { LANGEVIN_DEFAULTS, type LangevinOptions, type LangevinResult, type StepStatistics } from "./chain.ts";

/**
 * T steps of x ← clamp(x + clamp((δ²/2)·∇f(x)) + δ·ε).
 * Everything that does not change from step to step (weight transforms, δ²/2) moves in front of the loop.
 * With Metropolis adjustment: {@linkcode metropolis}.
 *
 * @param energy f: [N,H,W,C] → [N]; its states must already be declared in `g`
 * @throws {UsageError} if noise is wanted without a key, or noise or step sizes are given in another shape
 */
export function langevin(g: Graph, energy: (x: Value) => Value, x0: Value, options: LangevinOptions): LangevinResult {
  const { steps, moveClamp, range } = options;
  if (options.metropolis !== undefined && options.metropolis !== false) return metropolis(g, energy, x0, options);
  const sizes = deltasOf(g, options);
  const { given, draw } = noiseOf(x0, options);
  const noisy = given !== undefined || draw !== undefined;
  const perStep = [...(given ? [given] : []), ...(sizes.scanned ? [sizes.half, ...(noisy ? [sizes.delta] : [])] : [])];
  const loop = repeat(g, steps, [x0], ([x], slices) => {
    const scanned = [...slices];
    const eps = given ? scanned.shift() : draw?.();
    const [half, delta] = sizes.scanned ? scanned as [Value, Value] : [sizes.half, sizes.delta];
    const f = g.scoped("langevin", () => energy(x!));
    const [slope] = grad(scalar(sum(f)), [x!]);
    const noise = eps ? [delta, eps] : [];
    const operands = [x!, slope!, half, ...noise];
    const next = map(operands, (a, s, h, d?: Expr, e?: Expr) => {
      const move = E.mul(h!, s!);
      let y = E.add(a!, moveClamp === undefined ? move : E.clamp(move, -moveClamp, moveClamp));
      if (d && e) y = E.add(y, E.mul(d, e));
      return range ? E.clamp(y, range[0], range[1]) : y;
    });
    const stacked = stackedOf({ x: x!, f, slope: slope!, half, noise }, options);
    return { carried: [next], stacked };
  }, perStep.length > 0 ? { scanned: perStep } : {});
  return resultOf(loop, options);
}
