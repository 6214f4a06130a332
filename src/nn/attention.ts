/** The gated self-attention of Flow++ (Ho et al. 2019, §3.3). */
import { add, constant } from "../graph/build.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { gate } from "./activations.ts";
import { type Context, keyOf, streamOf } from "./context.ts";
import { WeightNormLinear } from "./conv.ts";
import type { Params } from "./params.ts";

/** Number of heads, contiguous groups of channels. */
export const HEADS = 4;

// A network has a hundred attentions of three sizes, and a code takes milliseconds.
const codes = new Map<string, Float32Array<ArrayBuffer>>();

/**
 * Sinusoidal position code [1, length, channels]: [sin | cos] halves of position·10000^(−i/(c/2 − 1)). Rounded to float32 step by step, as the
 * reference computes it: at position 511 the rounding of the angle is not small beside the tolerances.
 */
export function positionCode(g: Graph, length: number, channels: number): Value {
  const shape = [1, length, channels];
  const known = codes.get(`${shape}`);
  if (known) return constant(g, known, shape);
  const half = channels / 2;
  const data = new Float32Array(length * channels);
  const step = Math.fround(-Math.log(10000) / Math.max(half - 1, 1));
  for (let i = 0; i < half; i++) {
    const rate = Math.fround(Math.exp(Math.fround(i * step)));
    for (let p = 0; p < length; p++) {
      const angle = Math.fround(p * rate);
      data[p * channels + i] = Math.sin(angle);
      data[p * channels + half + i] = Math.cos(angle);
    }
  }
  codes.set(`${shape}`, data);
  return constant(g, data, shape);
}

/**
 * x + position code → [key | value | query] by one bias-free weight-normed projection → softmax attention with 4 heads, dropout on the weights →
 * weight-normed linear to 2c → a·σ(b). Scopes `in_proj`, `gate`. The caller adds its own input (without the code) afterwards.
 */
export class GatedAttention {
  readonly #params: Params;
  readonly #dropout: number;
  readonly #project: WeightNormLinear;
  readonly #gate: WeightNormLinear;

  constructor(params: Params, channels: number, options: { dropout: number }) {
    this.#params = params;
    this.#dropout = options.dropout;
    this.#project = new WeightNormLinear(params.scope("in_proj"), channels, 3 * channels, { bias: false });
    this.#gate = new WeightNormLinear(params.scope("gate"), channels, 2 * channels, { bias: true });
  }

  /** [N,L,c], pixels in row-major order → [N,L,c]. */
  forward(ctx: Context, x: Value): Value {
    return this.#params.enter(() => {
      const g = x.graph;
      const [, length, channels] = x.shape as [number, number, number];
      const kvq = this.#project.forward(add(x, positionCode(g, length, channels)));
      const dropout = ctx.training ? this.#dropout : 0;
      const stream = streamOf(ctx, this.#params, "drop");
      const attrs = { heads: HEADS, dropout, stream: dropout > 0 ? stream : "", loop: g.depth };
      const operands = dropout > 0 ? [kvq, keyOf(ctx, stream)] : [kvq];
      return gate(this.#gate.forward(g.add("attention", attrs, operands)[0]!));
    });
  }
}
