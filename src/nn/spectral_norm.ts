/** Convolution with the reference's spectral norm (after Miyato et al.: "Spectral Normalization", 2018), which only ever shrinks. */
import { add, constant, conv2d, map, matmul, mul, reshape, stopGradient, sum, sumSquares } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { numel, type Shape } from "../graph/shape.ts";
import { fanInUniform, filled, type Initializer, unitNormal } from "./initializers.ts";
import type { Params } from "./params.ts";

/** What keeps σ away from 0. */
const SIGMA_EPS = 1e-6;
/** What keeps norms of vectors away from 0. */
const NORM_EPS = 1e-12;

/** The next value of a singular vector. */
export interface VectorStep {
  readonly name: string;
  readonly old: Value;
  readonly next: Value;
}

/** How a {@linkcode SpectralConv} begins and goes on. */
export interface SpectralOptions {
  readonly padding: number;
  /** Weight and bias start at 0; default: PyTorch's. */
  readonly zeroWeight?: boolean;
  readonly zeroBias?: boolean;
  /** Vectors that are 0 are drawn again. */
  readonly redraw: boolean;
}

/**
 * y = conv(x, w·min(σ, 1)/σ) + bias, σ = uᵀWv + 1e-6 with W the weight as [O, I·k·k]; gradients flow through σ, not through u and v.
 * States `bias`, `weight_orig`; `weight_u` [O], `weight_v` [I·k·k], which power iterations move.
 */
export class SpectralConv {
  readonly #params: Params;
  readonly #bias: Value;
  readonly #weight: Value;
  readonly #options: SpectralOptions;
  readonly #start: { u: Value; v: Value };
  #now: { u: Value; v: Value };

  constructor(params: Params, channelsIn: number, channelsOut: number, kernel: number, options: SpectralOptions) {
    this.#params = params;
    this.#options = options;
    const shape: Shape = [channelsOut, channelsIn, kernel, kernel];
    const fanIn = channelsIn * kernel * kernel;
    const start = (of: Shape, zero: boolean | undefined): Initializer => zero ? filled(of, 0) : fanInUniform(of, fanIn);
    this.#bias = params.param("bias", [channelsOut], start([channelsOut], options.zeroBias));
    this.#weight = params.param("weight_orig", shape, start(shape, options.zeroWeight));
    const u = params.param("weight_u", [channelsOut], unitNormal(channelsOut), "buffer");
    const v = params.param("weight_v", [fanIn], unitNormal(fanIn), "buffer");
    this.#start = { u, v };
    this.#now = this.#start;
  }

  /** [N,H,W,I] → [N,H′,W′,O]. */
  forward(x: Value): Value {
    return this.#params.enter(() => add(conv2d(x, this.#normalised(), { padding: this.#options.padding }), this.#bias));
  }

  /** One power iteration: v ← Wᵀu/‖Wᵀu‖, u ← Wv/‖Wv‖. {@linkcode forward} goes on with the new vectors. */
  step(): readonly VectorStep[] {
    return this.#params.enter(() => {
      const rows = this.#rows();
      const [, o, i] = rows.shape as [number, number, number];
      const u = this.#options.redraw ? this.#redrawn(this.#now.u) : this.#now.u;
      const v = unit(reshape(matmul(reshape(u, [1, 1, o]), rows), [i]));
      const next = { v: stopGradient(v), u: stopGradient(unit(reshape(matmul(rows, reshape(v, [1, i, 1])), [o]))) };
      this.#now = next;
      const name = (which: string): string => `${this.#params.prefix}${which}`;
      return [
        { name: name("weight_u"), old: this.#start.u, next: next.u },
        { name: name("weight_v"), old: this.#start.v, next: next.v },
      ];
    });
  }

  #rows(): Value {
    const { shape } = this.#weight;
    return reshape(this.#weight, [1, shape[0]!, numel(shape) / shape[0]!]);
  }

  #normalised(): Value {
    const rows = this.#rows();
    const { u, v } = this.#now;
    const image = reshape(matmul(rows, reshape(v, [1, numel(v.shape), 1])), u.shape);
    const sigma = sum(mul(u, image));
    const factor = map([sigma], (s) => E.add(s, SIGMA_EPS));
    return map([this.#weight, reshape(factor, [])], (w, s) => E.mul(E.div(w, s), E.min(s, 1)));
  }

  /** The vector itself, or the same draw each time where it is 0. */
  #redrawn(u: Value): Value {
    const size = numel(u.shape);
    const draw = new Float32Array(unitNormal(size)(0, this.#params.stream("redraw")));
    const norm = reshape(sumSquares(u), []);
    return map([norm, u, constant(u.graph, draw, u.shape)], (n, a, b) => E.select(E.eq(n, 0), b, a));
  }
}

/** x/max(‖x‖, 1e-12). */
function unit(x: Value): Value {
  const norm = reshape(sumSquares(x), []);
  return map([x, norm], (a, s) => E.div(a, E.max(E.sqrt(s), NORM_EPS)));
}
