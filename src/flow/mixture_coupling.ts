/** Mixture-of-logistics coupling (Ho et al.: Flow++, 2019, §3.2) and the network that parametrises it. */
import { concat, reshape } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import { Rescale, WeightNormConv } from "../nn/conv.ts";
import { type BlockOptions, ConvAttnBlock } from "../nn/conv_attn_block.ts";
import type { Params } from "../nn/params.ts";
import { Perceptron } from "../nn/perceptron.ts";
import type { Bijector, Forward, Inverse, Pair } from "./bijector.ts";

/** Settings of a coupling's network. */
export interface CouplingOptions extends BlockOptions {
  /** The network: convolutions and attention (the default), or a perceptron, the same at each pixel, without dropout. */
  readonly network?: "convolutions" | "perceptron";
  /** Width of the network. */
  readonly channels: number;
  /** Residual blocks of convolutions, or hidden layers of the perceptron. */
  readonly blocks: number;
  /** Logistic distributions in each mixture. */
  readonly components: number;
}

/** What the network says about each changed element. */
export interface CouplingParameters {
  /** [N,H,W,C·outputs]; of a mixture [a | b | π₁…π_K | μ₁…μ_K | s₁…s_K], each a group of C channels; a, π and s are raw. */
  readonly raw: Value;
  /** Gains [C] of tanh(a), if there is an a. */
  readonly rescale?: Value;
}

/** What parametrises a coupling. */
export interface ParameterNetwork {
  /** x [N,H,W,C] (and aux [N,H,W,A]) → what to do with each element of the other half. */
  forward(ctx: Context, x: Value, aux?: Value): CouplingParameters;
}

/** Settings of a {@linkcode ParameterNetwork}. */
export interface NetworkOptions extends Omit<CouplingOptions, "components"> {
  /** Numbers for each changed element. */
  readonly outputs: number;
  /** Whether one of them is a log-scale, which has gains. */
  readonly scales: boolean;
}

/**
 * Weight-normed 3×3 conv (C → channels) → blocks → weight-normed 3×3 conv (channels → C·outputs).
 * Scopes `in_conv.conv`, `mid_convs.j`, `out_conv.conv`, `rescale`.
 */
export class CouplingNetwork implements ParameterNetwork {
  readonly #params: Params;
  readonly #in: WeightNormConv;
  readonly #blocks: readonly ConvAttnBlock[];
  readonly #out: WeightNormConv;
  readonly #rescale: Rescale | undefined;

  /** @param channelsIn C: channels of a half */
  constructor(params: Params, channelsIn: number, options: NetworkOptions) {
    const { channels, blocks, outputs, scales } = options;
    this.#params = params;
    this.#in = new WeightNormConv(params.scope("in_conv.conv"), channelsIn, channels, 3);
    this.#blocks = Array.from(
      { length: blocks },
      (_, j) => new ConvAttnBlock(params.scope(`mid_convs.${j}`), channels, options),
    );
    this.#out = new WeightNormConv(params.scope("out_conv.conv"), channels, channelsIn * outputs, 3);
    this.#rescale = scales ? new Rescale(params.scope("rescale"), channelsIn) : undefined;
  }

  /** x [N,H,W,C] (and aux [N,H,W,A]) → parameters of a mixture per element. */
  forward(ctx: Context, x: Value, aux?: Value): CouplingParameters {
    return this.#params.enter(() => {
      let h = this.#in.forward(x);
      for (const block of this.#blocks) h = block.forward(ctx, h, aux);
      const raw = this.#out.forward(h);
      return this.#rescale ? { raw, rescale: this.#rescale.gains() } : { raw };
    });
  }
}

/** Perceptron (C (+ A) → channels → … → C·outputs). Scopes `layers.i`, `rescale`. */
class PerceptronNetwork implements ParameterNetwork {
  readonly #params: Params;
  readonly #layers: Perceptron;
  readonly #rescale: Rescale | undefined;

  constructor(params: Params, channelsIn: number, options: NetworkOptions) {
    const { channels, blocks, outputs, scales, auxChannels = 0 } = options;
    const hidden = Array.from({ length: blocks }, () => channels);
    this.#params = params;
    this.#layers = new Perceptron(params.scope("layers"), [channelsIn + auxChannels, ...hidden, channelsIn * outputs]);
    this.#rescale = scales ? new Rescale(params.scope("rescale"), channelsIn) : undefined;
  }

  forward(_: Context, x: Value, aux?: Value): CouplingParameters {
    return this.#params.enter(() => {
      const raw = this.#layers.forward(aux ? concat([x, aux], -1) : x);
      return this.#rescale ? { raw, rescale: this.#rescale.gains() } : { raw };
    });
  }
}

/** The network that the options ask for, its states in `params`; `channelsIn` is C, the channels of a half. */
export function createNetwork(params: Params, channelsIn: number, options: NetworkOptions): ParameterNetwork {
  const Network = options.network === "perceptron" ? PerceptronNetwork : CouplingNetwork;
  return new Network(params, channelsIn, options);
}

/**
 * Changes the first half given the second: y = (logit(F(x)) + b)·exp(a), F = Σ softmax(π)ₖ σ((x − μₖ)e^{−sₖ}), a ← rescale·tanh(a), s ≥ −7;
 * log-det Σ [log F′(x) − log F − log(1 − F) + a]. The inverse solves F(x) = σ(y·e^{−a} − b), clamped to [1e-5, 1 − 1e-5].
 * Scope `nn`.
 */
export class MixtureCoupling implements Bijector<Pair> {
  readonly #params: Params;
  readonly #network: ParameterNetwork;
  readonly #components: number;

  /** @param channels C of a half */
  constructor(params: Params, channels: number, options: CouplingOptions) {
    this.#params = params;
    this.#components = options.components;
    const outputs = 2 + 3 * options.components;
    this.#network = createNetwork(params.scope("nn"), channels, { ...options, outputs, scales: true });
  }

  forward(ctx: Context, x: Pair, aux?: Value): Forward<Pair> {
    const layer = (): [Value, Value] => this.#apply("mixture", ctx, x, aux);
    const [first, logDet] = ctx.recompute ? x.first.graph.recomputed(layer) : layer();
    return { y: { first, second: x.second }, logDet };
  }

  inverse(ctx: Context, y: Pair, aux?: Value): Inverse<Pair> {
    const [first, logDet] = this.#apply("mixture_inverse", ctx, y, aux);
    return { x: { first, second: y.second }, logDet };
  }

  #apply(op: "mixture" | "mixture_inverse", ctx: Context, pair: Pair, aux?: Value): [Value, Value] {
    return this.#params.enter(() => {
      const { first, second } = pair;
      const [n, h, w, c] = first.shape as [number, number, number, number];
      const { raw, rescale } = this.#network.forward(ctx, second, aux);
      const flat = (x: Value): Value => reshape(x, [n, h * w, x.shape[3]!]);
      const [y, logDet] = first.graph.add(op, { components: this.#components }, [flat(first), flat(raw), rescale!]);
      return [reshape(y!, [n, h, w, c]), logDet!];
    });
  }
}
