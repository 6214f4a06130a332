/** The deep energy network with spectral norm. */
import { add, avgPool2, map, mul } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { filled } from "../nn/initializers.ts";
import type { Params } from "../nn/params.ts";
import { SpectralConv } from "../nn/spectral_norm.ts";
import { END, END_CHANNELS, energyBlocks, type EnergyConfig, type StateStep } from "./config.ts";

const SLOPE = 0.2;
/** Levels behind the first have this many times the stem's channels. */
const WIDER = 2;

// The slope at 0 is the lower one, as in PyTorch.
const leaky = (x: Value): Value => map([x], (a) => E.select(E.le(a, 0), E.mul(a, SLOPE), a));
const relu = (x: Value): Value => map([x], (a) => E.select(E.le(a, 0), 0, a));

/**
 * conv2(leaky(conv1(leaky(x))))·scale + shortcut(x): conv1 i → o, conv2 o → o; the shortcut is a convolution where i ≠ o, else x itself.
 * Scopes `conv1`, `conv2`, `short_cut`; state `conv2_scale` [1].
 */
export class SpectralBlock {
  readonly #params: Params;
  readonly #scale: Value;
  readonly #conv1: SpectralConv;
  readonly #conv2: SpectralConv;
  readonly #shortcut: SpectralConv | undefined;

  constructor(params: Params, channelsIn: number, channelsOut: number, options: { redraw: boolean }) {
    this.#params = params;
    this.#scale = params.param("conv2_scale", [1], filled([1], 1));
    const conv = (name: string, from: number, zeroWeight: boolean): SpectralConv =>
      new SpectralConv(params.scope(name), from, channelsOut, 3, {
        ...options,
        padding: 1,
        zeroBias: true,
        zeroWeight,
      });
    this.#conv1 = conv("conv1", channelsIn, false);
    this.#conv2 = conv("conv2", channelsOut, true);
    this.#shortcut = channelsIn === channelsOut ? undefined : conv("short_cut", channelsIn, false);
  }

  /** [N,H,W,i] → [N,H,W,o]. */
  forward(x: Value): Value {
    return this.#params.enter(() => {
      const deep = mul(this.#conv2.forward(leaky(this.#conv1.forward(leaky(x)))), this.#scale);
      return add(deep, this.#shortcut ? this.#shortcut.forward(x) : x);
    });
  }

  /** One power iteration each. */
  step(): readonly StateStep[] {
    return this.#params.enter(() =>
      [this.#conv1, this.#conv2, ...(this.#shortcut ? [this.#shortcut] : [])].flatMap((conv) => conv.step())
    );
  }
}

/**
 * conv 3×3 (C → n), levels of blocks (n, then 2n) with pooling between them, ReLU, conv 4×4 (→ 100), all convolutions with spectral norm.
 * Scopes `conv_in`, `res_levels.l.b`, `fc_out`.
 */
export class SpectralStack {
  readonly #stem: SpectralConv;
  readonly #levels: readonly (readonly SpectralBlock[])[];
  readonly #end: SpectralConv;

  constructor(params: Params, { channels, channelsIn, height, width, blocks, redraw }: EnergyConfig) {
    this.#stem = new SpectralConv(params.scope("conv_in"), channelsIn, channels, 3, { padding: 1, redraw });
    let before = channels;
    this.#levels = Array.from(
      { length: energyBlocks(height, width) + 1 },
      (_, l) =>
        Array.from({ length: blocks }, (_, b) => {
          const after = l === 0 ? channels : WIDER * channels;
          const block = new SpectralBlock(params.scope(`res_levels.${l}.${b}`), before, after, { redraw });
          before = after;
          return block;
        }),
    );
    this.#end = new SpectralConv(params.scope("fc_out"), before, END_CHANNELS, END, { padding: 0, redraw });
  }

  forward(x: Value): Value {
    const h = this.#levels.reduce(
      (v, level, l) => level.reduce((w, block) => block.forward(w), l === 0 ? v : avgPool2(v)),
      this.#stem.forward(x),
    );
    return this.#end.forward(relu(h));
  }

  step(): readonly StateStep[] {
    return [this.#stem, ...this.#levels.flat(), this.#end].flatMap((layer) => layer.step());
  }
}
