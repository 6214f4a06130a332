/** Plain and weight-normed convolutions and linear layers (Salimans and Kingma: "Weight normalization", 2016). */
import { add, conv2d, linear, map, mul, reshape, sum, sumSquares, transpose } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { numel, type Shape } from "../graph/shape.ts";
import { fanInUniform, filled, type Initializer, rowNorms } from "./initializers.ts";
import type { Params } from "./params.ts";

/** y = conv(x, weight) + bias: NHWC images; states `weight` [O,I,k,k], `bias` [O]. 3×3 kernels are padded by 1 where asked. */
export class Conv {
  readonly #params: Params;
  readonly #weight: Value;
  readonly #bias: Value;
  readonly #options: { stride?: number; padding?: number };

  constructor(
    params: Params,
    channelsIn: number,
    channelsOut: number,
    kernel: number,
    options: { stride?: number; padding?: number } = {},
  ) {
    this.#params = params;
    this.#options = options;
    const shape = [channelsOut, channelsIn, kernel, kernel];
    const fanIn = channelsIn * kernel * kernel;
    this.#weight = params.param("weight", shape, fanInUniform(shape, fanIn));
    this.#bias = params.param("bias", [channelsOut], fanInUniform([channelsOut], fanIn));
  }

  /** [N,H,W,I] → [N,H′,W′,O]. */
  forward(x: Value): Value {
    return this.#params.enter(() => add(conv2d(x, this.#weight, this.#options), this.#bias));
  }

  /** The sum of the output channels, [N,H,W,I] → [N,H′,W′,1]: one convolution by the sum of their kernels, for it is linear in them. */
  forwardSummed(x: Value): Value {
    return this.#params.enter(() => {
      // Summed in the order of an image's memory, so that what multiplies it reads both alike.
      const kernel = transpose(sum(transpose(this.#weight, [0, 2, 3, 1]), [0]), [0, 3, 1, 2]);
      return add(conv2d(x, kernel, this.#options), sum(this.#bias, [0]));
    });
  }
}

/**
 * Declares `weight_g` [O,1,…] and `weight_v` [O,…], and returns the function that gives w = g·v/‖v‖, the norm over all but the first dimension.
 */
function weightNorm(params: Params, shape: Shape, initV: Initializer): () => Value {
  const rest = shape.slice(1).map(() => 1);
  const g = params.param("weight_g", [shape[0]!, ...rest], rowNorms(initV, shape[0]!), "gain");
  const v = params.param("weight_v", shape, initV);
  return () => {
    const squares = sumSquares(v, rest.map((_, i) => i + 1));
    // The quotient first: it has one element per row, and what remains is one product per weight.
    return mul(v, map([g, squares], (a, s) => E.div(a, E.sqrt(s))));
  };
}

/** Weight-normed convolution with bias, padded to keep the size; states `bias`, `weight_g`, `weight_v`. */
export class WeightNormConv {
  readonly #params: Params;
  readonly #bias: Value;
  readonly #weight: () => Value;
  readonly #padding: number;

  constructor(params: Params, channelsIn: number, channelsOut: number, kernel: number) {
    this.#params = params;
    this.#padding = (kernel - 1) / 2;
    const shape = [channelsOut, channelsIn, kernel, kernel];
    const fanIn = channelsIn * kernel * kernel;
    this.#bias = params.param("bias", [channelsOut], fanInUniform([channelsOut], fanIn));
    this.#weight = weightNorm(params, shape, fanInUniform(shape, fanIn));
  }

  /** [N,H,W,I] → [N,H,W,O]. */
  forward(x: Value): Value {
    return this.#params.enter(() => add(conv2d(x, this.#weight(), { padding: this.#padding }), this.#bias));
  }
}

/** Weight-normed linear layer over the last axis; states (`bias`,) `weight_g`, `weight_v`. */
export class WeightNormLinear {
  readonly #params: Params;
  readonly #bias: Value | undefined;
  readonly #weight: () => Value;

  constructor(params: Params, channelsIn: number, channelsOut: number, options: { bias: boolean }) {
    this.#params = params;
    const shape = [channelsOut, channelsIn];
    this.#bias = options.bias
      ? params.param("bias", [channelsOut], fanInUniform([channelsOut], channelsIn))
      : undefined;
    this.#weight = weightNorm(params, shape, fanInUniform(shape, channelsIn));
  }

  /** […, I] → […, O]. */
  forward(x: Value): Value {
    return this.#params.enter(() => {
      const y = linear(x, this.#weight());
      return this.#bias ? add(y, this.#bias) : y;
    });
  }
}

/** Weight-normed gain per channel, 1 at the start; states `weight_g`, `weight_v` [C,1,1]. */
export class Rescale {
  readonly #params: Params;
  readonly #weight: () => Value;

  constructor(params: Params, channels: number) {
    this.#params = params;
    const shape = [channels, 1, 1];
    this.#weight = weightNorm(params, shape, filled(shape, 1));
  }

  /** The gains [C]. */
  gains(): Value {
    return this.#params.enter(() => {
      const w = this.#weight();
      return reshape(w, [numel(w.shape)]);
    });
  }
}
