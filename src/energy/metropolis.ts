/**
 * Langevin chains with Metropolis adjustment (MALA: Roberts and Tweedie 1996, Roberts and Rosenthal 1998): each move is accepted or not such that
 * exp f is the chain's stationary distribution exactly, whatever the step size.
 */
import { grad } from "../autodiff/grad.ts";
import { clamp, map, repeat, reshape, scalar, select, sum, uniform } from "../graph/build.ts";
import { constant, E, type Expr } from "../graph/expr.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { formatShape, sameShape } from "../graph/shape.ts";
import { UsageError } from "../errors.ts";
import { deltasOf, type LangevinOptions, type LangevinResult, noiseOf, resultOf, stackedOf, sums } from "./chain.ts";

/** Uniforms [T,N] that moves are accepted by: given, or drawn in each step. */
function uniformsOf(n: number, options: LangevinOptions): { given?: Value; draw?: () => Value } {
  const { metropolis, key, stream = "langevin/noise", steps } = options;
  if (typeof metropolis !== "object") {
    if (!key) throw new UsageError("langevin: expected a key to draw what moves are accepted by, found none");
    return { draw: () => uniform(key, `${stream}/accept`, [n]) };
  }
  if (!sameShape(metropolis.shape, [steps, n])) {
    throw new UsageError(
      `langevin: expected uniforms of shape ${formatShape([steps, n])}, found ${formatShape(metropolis.shape)}`,
    );
  }
  return { given: metropolis };
}

const ONE = constant(1);

/** Where y lies after reflections at the borders, and the sign of the reflected direction: 1 or −1. */
function reflected(y: Expr, [low, high]: readonly [number, number]): { at: Expr; sign: Expr } {
  const u = E.div(E.sub(y, low), high - low);
  const times = E.floor(u);
  const part = E.sub(u, times);
  const odd = E.sub(times, E.mul(2, E.floor(E.mul(times, 0.5))));
  const folded = E.clamp(E.add(low, E.mul(high - low, E.select(odd, E.sub(1, part), part))), low, high);
  // What needs no reflection keeps its bits.
  const inside = E.mul(E.le(low, y), E.le(y, high));
  return { at: E.select(inside, y, folded), sign: E.select(inside, 1, E.sub(1, E.mul(2, odd))) };
}

/**
 * T steps of: y = x + m(x) + δ·ε with m = clamp((δ²/2)·∇f); x ← y if log u < f(y) − f(x) + log q(x|y) − log q(y|x), u ~ U[0, 1), else x stays.
 *
 * The move clamp is part of the proposal and of its density q, so the adjustment is exact with it. At the ends of the range proposals are reflected:
 * f and ∇f are continued beyond them as in mirrors, where the ratio of the densities is taken, so that the chain's stationary distribution is exp f on
 * the range, exactly. (Rejecting what leaves the range would be exact too, but would never move images that have pixels near its ends.) A proposal
 * where f or ∇f is not a number is rejected.
 *
 * @throws {UsageError} if there is no noise, or a key is missing
 */
export function metropolis(g: Graph, energy: (x: Value) => Value, x0: Value, options: LangevinOptions): LangevinResult {
  const { steps, moveClamp = Infinity, range } = options;
  const n = x0.shape[0]!;
  const sizes = deltasOf(g, options);
  const noise = noiseOf(x0, options);
  if (!noise.given && !noise.draw) {
    throw new UsageError(
      "langevin: expected noise with Metropolis adjustment, found none; turn one on or the other off",
    );
  }
  const uniforms = uniformsOf(n, options);
  const at = (x: Value): { f: Value; slope: Value } => {
    const f = g.scoped("langevin", () => energy(x));
    const [slope] = grad(scalar(sum(f)), [x]);
    return { f, slope: slope! };
  };
  const mirror = (y: Expr): { at: Expr; sign: Expr } => range ? reflected(y, range) : { at: y, sign: ONE };
  const drift = (h: Expr, s: Expr): Expr => {
    const move = E.mul(h, s);
    return moveClamp === Infinity ? move : E.clamp(move, -moveClamp, moveClamp);
  };
  const proposed = (x: Expr, s: Expr, h: Expr, d: Expr, e: Expr): Expr => E.add(E.add(x, drift(h, s)), E.mul(d, e));
  const start = range ? clamp(x0, ...range) : x0;
  const first = at(start);
  const scanned = [
    ...(noise.given ? [noise.given] : []),
    ...(uniforms.given ? [uniforms.given] : []),
    ...(sizes.scanned ? [sizes.half, sizes.delta] : []),
  ];
  const loop = repeat(g, steps, [start, first.f, first.slope], ([x, f, slope], slices) => {
    const rest = [...slices];
    const eps = noise.given ? rest.shift()! : noise.draw!();
    const u = uniforms.given ? rest.shift()! : uniforms.draw!();
    const [half, delta] = sizes.scanned ? rest as [Value, Value] : [sizes.half, sizes.delta];
    const operands = [x!, slope!, half, delta, eps];
    const y = map(operands, (a, s, h, d, e) => mirror(proposed(a, s, h, d, e)).at);
    const next = at(y);
    // log q(x|y) − log q(y|x) = ½Σ(ε² − ε′²), ε′ = −(b + ε) the noise of the way back, b = (m(x) ± m(y))/δ: without cancellation −½Σ b·(b + 2ε).
    const ratio = sums([...operands, next.slope], (a, s, h, d, e, t) => {
      const { sign } = mirror(proposed(a, s, h, d, e));
      const b = E.div(E.add(drift(h, s), E.mul(sign, drift(h, t))), d);
      return E.mul(b, E.add(b, E.mul(2, e)));
    });
    const ok = map([u, next.f, f!, ratio], (v, to, from, q) => E.lt(E.log(v), E.sub(E.sub(to, from), E.mul(0.5, q))));
    const each = reshape(ok, [n, ...x!.shape.slice(1).map(() => 1)]);
    const state = { x: x!, f: f!, slope: slope!, half, noise: [delta, eps], accepted: ok };
    return {
      carried: [select(each, y, x!), select(ok, next.f, f!), select(each, next.slope, slope!)],
      stacked: stackedOf(state, options),
    };
  }, scanned.length > 0 ? { scanned } : {});
  return resultOf(loop, options);
}
