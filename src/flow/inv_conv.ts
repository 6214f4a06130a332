/** Invertible 1×1 convolution (Kingma and Dhariwal: Glow, 2018, §3.2), on the concatenated halves. */
import { linear, mul, neg } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import { nearIdentity } from "../nn/initializers.ts";
import type { Params } from "../nn/params.ts";
import type { Bijector, Forward, Inverse, Pair } from "./bijector.ts";
import { joinChannels, splitChannels } from "./reshapes.ts";

/** y = W·x at each pixel; log-det H·W·log|det W| with the H, W of a half; inverse and determinant in double precision. State `weight` [2c,2c]. */
export class InvConv implements Bijector<Pair> {
  readonly #params: Params;
  readonly #weight: Value;

  /** @param channels of one half */
  constructor(params: Params, channels: number) {
    this.#params = params;
    const n = 2 * channels;
    this.#weight = params.param("weight", [n, n], nearIdentity(n));
  }

  forward(_: Context, x: Pair): Forward<Pair> {
    return this.#params.enter(() => {
      const y = linear(joinChannels(x), this.#weight);
      return { y: splitChannels(y), logDet: this.#logDet(x) };
    });
  }

  inverse(_: Context, y: Pair): Inverse<Pair> {
    return this.#params.enter(() => {
      const inverse = this.#weight.graph.add("matrix_inverse", {}, [this.#weight])[0]!;
      return { x: splitChannels(linear(joinChannels(y), inverse)), logDet: neg(this.#logDet(y)) };
    });
  }

  #logDet(x: Pair): Value {
    const logAbsDet = this.#weight.graph.add("log_abs_det", {}, [this.#weight])[0]!;
    return mul(logAbsDet, x.first.shape[1]! * x.first.shape[2]!);
  }
}
