/** The residual block of the coupling networks: gated convolution, then gated attention, each with a layer norm. */
import { add, reshape } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { GatedAttention } from "./attention.ts";
import type { Context } from "./context.ts";
import { GatedConv } from "./gated_conv.ts";
import { LayerNorm } from "./layer_norm.ts";
import type { Params } from "./params.ts";

/** Settings shared by the blocks of one coupling network. */
export interface BlockOptions {
  readonly dropout: number;
  readonly attention: boolean;
  readonly auxChannels?: number;
}

/** x ← LayerNorm(x + GatedConv(x, aux)); x ← LayerNorm(x + GatedAttention(x)). Scopes `conv`, `norm_1` (, `attn`, `norm_2`). */
export class ConvAttnBlock {
  readonly #params: Params;
  readonly #conv: GatedConv;
  readonly #norm1: LayerNorm;
  readonly #attention: { layer: GatedAttention; norm: LayerNorm } | undefined;

  constructor(params: Params, channels: number, options: BlockOptions) {
    this.#params = params;
    this.#conv = new GatedConv(params.scope("conv"), channels, options);
    this.#norm1 = new LayerNorm(params.scope("norm_1"), channels);
    if (options.attention) {
      const layer = new GatedAttention(params.scope("attn"), channels, options);
      this.#attention = { layer, norm: new LayerNorm(params.scope("norm_2"), channels) };
    }
  }

  /** [N,H,W,c] (and aux [N,H,W,a]) → [N,H,W,c]. */
  forward(ctx: Context, x: Value, aux?: Value): Value {
    return this.#params.enter(() => {
      const y = this.#norm1.forward(add(x, this.#conv.forward(ctx, x, aux)));
      if (!this.#attention) return y;
      const { layer, norm } = this.#attention;
      const [n, h, w, c] = y.shape as [number, number, number, number];
      // Pixels as a sequence from layer norm to layer norm: both write dense tensors, so neither reshape costs anything.
      const s = reshape(y, [n, h * w, c]);
      return reshape(norm.forward(add(s, layer.forward(ctx, s))), y.shape);
    });
  }
}
