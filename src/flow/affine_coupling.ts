/** Affine coupling (Dinh et al.: RealNVP, 2017) and additive coupling (Dinh et al.: NICE, 2015), with the mixture coupling's network. */
import { map, slice } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import type { Params } from "../nn/params.ts";
import { type Bijector, type Forward, type Inverse, noLogDet, type Pair } from "./bijector.ts";
import { perImage } from "./logit.ts";
import { type CouplingOptions, createNetwork, type ParameterNetwork } from "./mixture_coupling.ts";

/**
 * Changes the first half given the second: y = (x + b)·exp(a), a ← rescale·tanh(a), log-det Σ a; additive: y = x + b, log-det 0.
 * The network's channels are [a | b], or b alone. Scope `nn`.
 */
export class AffineCoupling implements Bijector<Pair> {
  readonly #params: Params;
  readonly #network: ParameterNetwork;
  readonly #channels: number;

  /** @param channels C of a half */
  constructor(params: Params, channels: number, kind: "affine" | "additive", options: CouplingOptions) {
    this.#params = params;
    this.#channels = channels;
    const outputs = kind === "affine" ? 2 : 1;
    this.#network = createNetwork(params.scope("nn"), channels, { ...options, outputs, scales: outputs === 2 });
  }

  forward(ctx: Context, x: Pair, aux?: Value): Forward<Pair> {
    const layer = (): [Value, Value] => {
      const { a, b } = this.#parameters(ctx, x.second, aux);
      if (!a) return [map([x.first, b], E.add), noLogDet(b.graph)];
      return [map([x.first, b, a], (v, s, l) => E.mul(E.add(v, s), E.exp(l))), perImage(a)];
    };
    const [first, logDet] = ctx.recompute ? x.first.graph.recomputed(layer) : layer();
    return { y: { first, second: x.second }, logDet };
  }

  inverse(ctx: Context, y: Pair, aux?: Value): Inverse<Pair> {
    const { a, b } = this.#parameters(ctx, y.second, aux);
    const first = a ? map([y.first, b, a], (v, s, l) => E.sub(E.mul(v, E.exp(E.neg(l))), s)) : map([y.first, b], E.sub);
    return { x: { first, second: y.second }, logDet: a ? perImage(map([a], E.neg)) : noLogDet(b.graph) };
  }

  #parameters(ctx: Context, second: Value, aux?: Value): { readonly a?: Value; readonly b: Value } {
    return this.#params.enter(() => {
      const { raw, rescale } = this.#network.forward(ctx, second, aux);
      const c = this.#channels;
      if (!rescale) return { b: raw };
      const a = map([slice(raw, 3, 0, c), rescale], (v: Expr, r: Expr) => E.mul(r, E.tanh(v)));
      return { a, b: slice(raw, 3, c, 2 * c) };
    });
  }
}
