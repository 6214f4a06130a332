/** The logit in front of the scales, and its undoing after sampling. */
import { map, reshape, sum } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import type { Bijector, Forward, Inverse } from "./bijector.ts";

/** How much of (−1, 1) the logit maps: keeps it away from ±∞. The reference stores it as `bounds`, in float32. */
export const LOGIT_BOUND: number = Math.fround(0.9);

const LOG_ODDS_OF_BOUND = Math.log(1 - LOGIT_BOUND) - Math.log(LOGIT_BOUND);
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/**
 * v = logit(((2x − 1)·0.9 + 1)/2) of x ∈ [0, 1]; log-det Σ softplus(v) + softplus(−v) − softplus(log 0.1 − log 0.9), the last term being −log 0.9.
 */
export class Logit implements Bijector<Value> {
  forward(_: Context, x: Value): Forward<Value> {
    const y = map([x], (a) => {
      const p = E.mul(E.add(E.mul(E.sub(E.mul(a, 2), 1), LOGIT_BOUND), 1), 0.5);
      return E.sub(E.log(p), E.log(E.sub(1, p)));
    });
    return { y, logDet: perImage(map([y], (v) => this.#slope(v))) };
  }

  inverse(_: Context, y: Value): Inverse<Value> {
    const x = map([y], (v) => {
      const p = E.sigmoid(v);
      return E.mul(E.add(E.mul(E.sub(E.mul(p, 2), 1), 1 / LOGIT_BOUND), 1), 0.5);
    });
    return { x, logDet: perImage(map([y], (v) => E.neg(this.#slope(v)))) };
  }

  #slope(v: Parameters<typeof E.softplus>[0]): ReturnType<typeof E.softplus> {
    return E.sub(E.add(E.softplus(v), E.softplus(E.neg(v))), softplus(LOG_ODDS_OF_BOUND));
  }
}

/** Sum over everything but the first dimension, as [N]. */
export function perImage(x: Value): Value {
  return reshape(sum(x, x.shape.slice(1).map((_, i) => i + 1)), [x.shape[0]!]);
}
