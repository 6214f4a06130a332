/** Dequantization: from grey levels to a continuous density (Ho et al.: Flow++, 2019, §3.1). */
import { concat, map, sub } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { type Context, drawNormal, drawUniform } from "../nn/context.ts";
import { Conv } from "../nn/conv.ts";
import { GatedConv } from "../nn/gated_conv.ts";
import type { Params } from "../nn/params.ts";
import { type Bijector, noLogDet, type Pair, sumLogDets } from "./bijector.ts";
import { perImage } from "./logit.ts";
import { joinCheckerboard, splitCheckerboard } from "./reshapes.ts";

/** A dequantized batch. */
export interface Dequantized {
  /** (x·(L − 1) + u)/L, in (0, 1). */
  readonly x: Value;
  /** −log q(u | x): [N] or [1]. */
  readonly logDet: Value;
}

/** Adds noise u ∈ [0, 1) to the grey levels of x ∈ [0, 1]. */
export interface Dequantizer {
  /** `noise` takes the place of the draw: ε ~ N(0, I) (variational) or u (uniform), shaped like x. */
  dequantize(ctx: Context, x: Value, noise?: Value): Dequantized;
}

const HALF_LOG_TWO_PI = 0.5 * Math.log(2 * Math.PI);
/** Channels of the conditioning features, steps and mixture components: the same whatever the main flow has. */
export const DEQUANTIZER = { auxChannels: 32, steps: 4, components: 32 } as const;

/** u ~ U[0, 1): a lower bound of the likelihood that costs nothing. */
export class UniformDequantizer implements Dequantizer {
  readonly #params: Params;
  readonly #levels: number;

  constructor(params: Params, levels: number) {
    this.#params = params;
    this.#levels = levels;
  }

  dequantize(ctx: Context, x: Value, noise?: Value): Dequantized {
    return this.#params.enter(() => {
      const u = noise ?? drawUniform(ctx, this.#params, "u", x.shape);
      const levels = this.#levels;
      const y = map([x, u], (a, b) => E.mul(E.add(E.mul(a, levels - 1), b), 1 / levels));
      return { x: y, logDet: noLogDet(x.graph) };
    });
  }
}

/**
 * u = σ(h(ε | x)), ε ~ N(0, I): log-det Σ (ε²/2 + log(2π)/2) + Σ log u + Σ log(1 − u) + log-dets of h.
 * h runs on the checkerboard halves of ε, conditioned on aux = three gated convolutions after a 3×3 convolution of the halves of x − ½.
 * Scopes `aux_conv.0` … `.3`, `flows.i`.
 */
export class VariationalDequantizer implements Dequantizer {
  readonly #params: Params;
  readonly #levels: number;
  readonly #stem: Conv;
  readonly #aux: readonly GatedConv[];
  readonly #flow: Bijector<Pair>;

  /** @param flow builds h in the scope it is given; it must be conditioned on {@linkcode DEQUANTIZER}.auxChannels */
  constructor(
    params: Params,
    options: { channelsIn: number; levels: number; dropout: number; flow: (params: Params) => Bijector<Pair> },
  ) {
    const { auxChannels } = DEQUANTIZER;
    this.#params = params;
    this.#levels = options.levels;
    this.#stem = new Conv(params.scope("aux_conv.0"), 2 * options.channelsIn, auxChannels, 3, { padding: 1 });
    this.#aux = [1, 2, 3].map((i) => new GatedConv(params.scope(`aux_conv.${i}`), auxChannels, options));
    this.#flow = options.flow(params.scope("flows"));
  }

  dequantize(ctx: Context, x: Value, noise?: Value): Dequantized {
    return this.#params.enter(() => {
      const halves = splitCheckerboard(sub(x, 0.5));
      let aux = this.#stem.forward(concat([halves.first, halves.second], -1));
      for (const layer of this.#aux) aux = layer.forward(ctx, aux);
      const eps = noise ?? drawNormal(ctx, this.#params, "eps", x.shape);
      const { y, logDet } = this.#flow.forward(ctx, splitCheckerboard(eps), aux);
      const v = joinCheckerboard(y);
      const levels = this.#levels;
      const out = map([x, v], (a, b) => E.mul(E.add(E.mul(a, levels - 1), E.sigmoid(b)), 1 / levels));
      // log u + log(1 − u) = −softplus(−v) − softplus(v), exact in both tails.
      const noiseTerm = map(
        [eps, v],
        (e, b) => E.sub(E.add(E.mul(0.5, E.square(e)), HALF_LOG_TWO_PI), E.add(E.softplus(b), E.softplus(E.neg(b)))),
      );
      return { x: out, logDet: sumLogDets([perImage(noiseTerm), logDet]) };
    });
  }
}
