/** Activation normalisation (Kingma and Dhariwal: Glow, 2018, §3.1), on the concatenated halves. */
import { concat, fill, log, map, mean, mul, neg, reshape, slice, sum } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import { filled } from "../nn/initializers.ts";
import type { Params } from "../nn/params.ts";
import type { Bijector, Forward, Inverse, Pair } from "./bijector.ts";

interface Statistics {
  readonly mean: Value;
  readonly invStd: Value;
}

/**
 * y = (x − mean)·inv_std per channel; log-det H·W·Σ log inv_std with the H, W of a half. States `mean`, `inv_std` [1,2c,1,1] and `is_initialized` [1],
 * all 0 before the data-dependent start (mode `initialise`): the mean and 1/(std + 1e-6) of the batch, with the biased variance.
 */
export class ActNorm implements Bijector<Pair> {
  readonly #params: Params;
  readonly #mean: Value;
  readonly #invStd: Value;
  readonly #channels: number;

  /** @param channels of one half */
  constructor(params: Params, channels: number) {
    this.#params = params;
    this.#channels = channels;
    const shape = [1, 2 * channels, 1, 1];
    this.#mean = params.param("mean", shape, filled(shape, 0));
    this.#invStd = params.param("inv_std", shape, filled(shape, 0));
    params.param("is_initialized", [1], filled([1], 0), "buffer");
  }

  forward(ctx: Context, x: Pair): Forward<Pair> {
    return this.#params.enter(() => {
      const [a, b] = ctx.mode === "initialise" ? this.#initialise(x) : this.#stored();
      // Half by half: both maps write into their window of the concatenation that the 1×1 convolution reads.
      const normalise = (h: Value, s: Statistics): Value =>
        map([h, s.mean, s.invStd], (v, m, i) => E.mul(E.sub(v, m), i));
      const logDet = mul(sumOfLogs([a.invStd, b.invStd]), pixels(x));
      return { y: { first: normalise(x.first, a), second: normalise(x.second, b) }, logDet };
    });
  }

  inverse(_: Context, y: Pair): Inverse<Pair> {
    return this.#params.enter(() => {
      const [a, b] = this.#stored();
      const restore = (h: Value, s: Statistics): Value =>
        map([h, s.mean, s.invStd], (v, m, i) => E.add(E.div(v, i), m));
      const logDet = mul(neg(sumOfLogs([a.invStd, b.invStd])), pixels(y));
      return { x: { first: restore(y.first, a), second: restore(y.second, b) }, logDet };
    });
  }

  #stored(): [Statistics, Statistics] {
    const c = this.#channels;
    const half = (x: Value, k: number): Value => reshape(slice(x, 1, k * c, (k + 1) * c), [1, 1, 1, c]);
    return [0, 1].map((k) => ({ mean: half(this.#mean, k), invStd: half(this.#invStd, k) })) as [
      Statistics,
      Statistics,
    ];
  }

  #initialise(x: Pair): [Statistics, Statistics] {
    const halves = [x.first, x.second].map((h) => {
      const centre = mean(h, [0, 1, 2]);
      const variance = mean(map([h, centre], (v, m) => E.square(E.sub(v, m))), [0, 1, 2]);
      return { mean: centre, invStd: map([variance], (v) => E.recip(E.add(E.sqrt(v), 1e-6))) };
    }) as [Statistics, Statistics];
    const shape = [1, 2 * this.#channels, 1, 1];
    const { graph } = this.#params;
    const name = (k: string): string => `${this.#params.prefix}${k}`;
    graph.assign(name("mean"), reshape(concat(halves.map((s) => s.mean), -1), shape));
    graph.assign(name("inv_std"), reshape(concat(halves.map((s) => s.invStd), -1), shape));
    graph.assign(name("is_initialized"), fill(graph, 1, [1]));
    return halves;
  }
}

/** Σ log over tensors [1,1,1,c], as [1]. */
function sumOfLogs(values: readonly Value[]): Value {
  return reshape(sum(log(concat(values, -1))), [1]);
}

/** Number of pixels of a half. */
function pixels(x: Pair): number {
  return x.first.shape[1]! * x.first.shape[2]!;
}
