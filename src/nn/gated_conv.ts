/** The gated convolution of Flow++ (Ho et al. 2019, §3.3). */
import { add } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { type ChannelDropout, concatElu, gate } from "./activations.ts";
import { type Context, drawUniform } from "./context.ts";
import { WeightNormConv } from "./conv.ts";
import type { Params } from "./params.ts";

/**
 * concat_elu → 3×3 (2c → c) [+ 1×1 (2·aux → c) of concat_elu(aux)] → concat_elu → channel dropout → 1×1 (2c → 2c) → a·σ(b).
 * All convolutions are weight-normed; scopes `conv.conv`, `gate.conv`, `aux_conv.conv`.
 */
export class GatedConv {
  readonly #params: Params;
  readonly #dropout: number;
  readonly #conv: WeightNormConv;
  readonly #gate: WeightNormConv;
  readonly #aux: WeightNormConv | undefined;

  constructor(params: Params, channels: number, options: { dropout: number; auxChannels?: number }) {
    this.#params = params;
    this.#dropout = options.dropout;
    this.#conv = new WeightNormConv(params.scope("conv.conv"), 2 * channels, channels, 3);
    this.#gate = new WeightNormConv(params.scope("gate.conv"), 2 * channels, 2 * channels, 1);
    const { auxChannels } = options;
    this.#aux = auxChannels === undefined
      ? undefined
      : new WeightNormConv(params.scope("aux_conv.conv"), 2 * auxChannels, channels, 1);
  }

  /** [N,H,W,c] (and aux [N,H,W,a] exactly if built with it) → [N,H,W,c]. */
  forward(ctx: Context, x: Value, aux?: Value): Value {
    return this.#params.enter(() => {
      let h = this.#conv.forward(concatElu(x));
      if (this.#aux && aux) h = add(h, this.#aux.forward(concatElu(aux)));
      return gate(this.#gate.forward(concatElu(h, this.#drawDropout(ctx, h))));
    });
  }

  #drawDropout(ctx: Context, h: Value): ChannelDropout | undefined {
    if (!ctx.training || this.#dropout === 0) return undefined;
    const draws = drawUniform(ctx, this.#params, "drop", [h.shape[0]!, 1, 1, 2 * h.shape[3]!]);
    return { draws, probability: this.#dropout };
  }
}
