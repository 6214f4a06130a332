/** Activations of the coupling networks, written as maps so that they fuse with their neighbours. */
import { concat, map, split } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";

/** Channel dropout for {@linkcode concatElu}: uniform draws [N,1,1,2c] and the probability of dropping. */
export interface ChannelDropout {
  readonly draws: Value;
  readonly probability: number;
}

/**
 * concat_elu(x) = elu([x, −x]) on the channels: [N,H,W,c] → [N,H,W,2c]; with `dropout`, whole channels of an image are zeroed with
 * probability p and the others divided by 1 − p (Flow++ §3: inside the gated convolution).
 */
export function concatElu(x: Value, dropout?: ChannelDropout): Value {
  if (!dropout) return concat([map([x], E.elu), map([x], (a) => E.elu(E.neg(a)))], -1);
  const { draws, probability } = dropout;
  const [plus, minus] = split(draws, 2, -1) as [Value, Value];
  const kept = (a: Expr, u: Expr): Expr => E.mul(E.elu(a), E.select(E.lt(u, probability), 0, 1 / (1 - probability)));
  return concat([map([x, plus], kept), map([x, minus], (a, u) => kept(E.neg(a), u))], -1);
}

/** a·σ(b) of the channel halves [a | b]: […, 2c] → […, c]. */
export function gate(x: Value): Value {
  const [a, b] = split(x, 2, -1) as [Value, Value];
  return map([a, b], (p, q) => E.mul(p, E.sigmoid(q)));
}
