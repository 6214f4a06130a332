/** The Flow++ network (Ho, Chen, Srinivas, Duan, Abbeel: ICML 2019) as the CoopFlow reference builds it. */
import { map, mean, mul, neg, scalar, slice } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import { filled } from "../nn/initializers.ts";
import type { Params } from "../nn/params.ts";
import { ActNorm } from "./act_norm.ts";
import { AffineCoupling } from "./affine_coupling.ts";
import { type Bijector, Chain, type Forward, type Inverse, type Pair, sumLogDets } from "./bijector.ts";
import { checkFlowConfig, type Coupling, type FlowConfig, type ScaleCouplings } from "./config.ts";
import { DEQUANTIZER, type Dequantizer, UniformDequantizer, VariationalDequantizer } from "./dequantize.ts";
import { InvConv } from "./inv_conv.ts";
import { Logit, LOGIT_BOUND, perImage } from "./logit.ts";
import { type CouplingOptions, MixtureCoupling } from "./mixture_coupling.ts";
import { Flip, joinChannels, OnHalves, squeeze, unsqueeze } from "./reshapes.ts";

/** What a group of couplings is made of. */
export interface StepOptions extends CouplingOptions {
  readonly invConv: boolean;
  /** Default: mixture. */
  readonly coupling?: Coupling;
}

/** `count` × [ActNorm (, InvConv), coupling, Flip] on halves of `channels` channels; scopes 0, 1, 2, …; flips store nothing but count. */
export function couplingSteps(
  params: Params,
  count: number,
  channels: number,
  options: StepOptions,
): Bijector<Pair> {
  const steps: Bijector<Pair>[] = [];
  for (let k = 0; k < count; k++) {
    steps.push(new ActNorm(params.scope(`${steps.length}`), channels));
    if (options.invConv) steps.push(new InvConv(params.scope(`${steps.length}`), channels));
    const scope = params.scope(`${steps.length}`);
    const { coupling = "mixture" } = options;
    steps.push(
      coupling === "mixture"
        ? new MixtureCoupling(scope, channels, options)
        : new AffineCoupling(scope, channels, coupling, options),
    );
    steps.push(new Flip());
  }
  return new Chain(params.graph, steps);
}

/** One scale and those below it: channelwise couplings, checkerboard couplings, then half of the squeezed channels go to the next scale. */
class Scale implements Bijector<Value> {
  readonly #params: Params;
  readonly #groups: Bijector<Value>[] = [];
  readonly #next: Scale | undefined;

  constructor(
    params: Params,
    scales: readonly ScaleCouplings[],
    channels: number,
    options: StepOptions,
  ) {
    this.#params = params;
    const [channelwise, checkerboard] = scales[0]!;
    const group = (name: string, count: number, c: number, kind: "channelwise" | "checkerboard"): void => {
      if (count === 0) return;
      const scope = params.scope(name);
      const steps = couplingSteps(scope, count, c, options);
      this.#groups.push(inScope(scope, new OnHalves(steps, kind)));
    };
    group("channels", channelwise, channels / 2, "channelwise");
    group("checkers", checkerboard, channels, "checkerboard");
    if (scales.length > 1) this.#next = new Scale(params.scope("next"), scales.slice(1), 2 * channels, options);
  }

  forward(ctx: Context, x: Value): Forward<Value> {
    return this.#params.enter(() => {
      const { y, logDet } = new Chain(x.graph, this.#groups).forward(ctx, x);
      if (!this.#next) return { y, logDet };
      const squeezed = squeeze(y);
      const c = squeezed.shape[3]! / 2;
      const inner = this.#next.forward(ctx, slice(squeezed, 3, 0, c));
      const out = unsqueeze(joinChannels({ first: inner.y, second: slice(squeezed, 3, c, 2 * c) }));
      return { y: out, logDet: sumLogDets([logDet, inner.logDet]) };
    });
  }

  inverse(ctx: Context, y: Value): Inverse<Value> {
    return this.#params.enter(() => {
      const logDets: Value[] = [];
      if (this.#next) {
        const squeezed = squeeze(y);
        const c = squeezed.shape[3]! / 2;
        const inner = this.#next.inverse(ctx, slice(squeezed, 3, 0, c));
        y = unsqueeze(joinChannels({ first: inner.x, second: slice(squeezed, 3, c, 2 * c) }));
        logDets.push(inner.logDet);
      }
      const { x, logDet } = new Chain(y.graph, this.#groups).inverse(ctx, y);
      return { x, logDet: sumLogDets([...logDets, logDet]) };
    });
  }
}

function inScope<X>(params: Params, inner: Bijector<X>): Bijector<X> {
  return {
    forward: (ctx, x, aux) => params.enter(() => inner.forward(ctx, x, aux)),
    inverse: (ctx, y, aux) => params.enter(() => inner.inverse(ctx, y, aux)),
  };
}

/** Options of {@linkcode FlowPlusPlus.sample}. */
export interface SampleOptions {
  /** Undo the 0.9 of the logit, so that samples reach ±1 as data do (the reference does not). */
  readonly undoBound?: boolean;
}

/** What the flow makes of a latent z. */
export interface FlowSample {
  /** Output of the scales [N,H,W,C], on the logit's side. */
  readonly logits: Value;
  /** Images 2·σ(logits) − 1 in [−1, 1]. */
  readonly x: Value;
  /** log|det ∂logits/∂z| [N]. */
  readonly logDet: Value;
}

/** A density q(x) of images that can be evaluated and drawn from. */
export interface FlowNetwork {
  readonly params: Params;
  /** L, grey levels that q is a density over; 1: over the values themselves. */
  readonly config: { readonly levels: number };
  /** Images [N,H,W,C] → z and the log-determinant [N]; `noise` takes the place of the dequantization's draw. */
  density(ctx: Context, x: Value, noise?: Value): { z: Value; logDet: Value };
  /** z [N,H,W,C] → images. */
  sample(ctx: Context, z: Value): { readonly x: Value };
}

/**
 * q(x): x ∈ [−1, 1] → (x + 1)/2 → dequantize → logit → scales → z, NHWC throughout.
 * States: `bounds` [1], `dequant_flows…`, `flows[.next…].{channels,checkers}.i…`.
 */
export class FlowPlusPlus implements FlowNetwork {
  readonly config: FlowConfig;
  readonly params: Params;
  readonly #dequantizer: Dequantizer;
  readonly #scales: Scale;
  readonly #logit = new Logit();

  /**
   * @param params the root scope of the flow's states
   * @throws {ConfigError} if the network can't be built
   */
  constructor(params: Params, config: FlowConfig) {
    checkFlowConfig(config);
    this.config = config;
    this.params = params;
    const { channelsIn, channels, dropout, levels, invConv } = config;
    params.param("bounds", [1], filled([1], LOGIT_BOUND), "buffer");
    const dequantFlow = (scope: Params): Bijector<Pair> =>
      inScope(
        scope,
        couplingSteps(scope, DEQUANTIZER.steps, channelsIn, {
          channels,
          blocks: config.dequantBlocks,
          components: DEQUANTIZER.components,
          dropout,
          attention: config.dequantAttention,
          auxChannels: DEQUANTIZER.auxChannels,
          invConv,
        }),
      );
    const scope = params.scope("dequant_flows");
    this.#dequantizer = config.dequantization === "uniform"
      ? new UniformDequantizer(scope, levels)
      : new VariationalDequantizer(scope, { channelsIn, levels, dropout, flow: dequantFlow });
    const { blocks, components, attention, coupling } = config;
    const options = { channels, blocks, components, dropout, attention, invConv, coupling };
    this.#scales = new Scale(params.scope("flows"), config.scales, channelsIn, options);
  }

  /** Images [N,H,W,C] in [−1, 1] → z and the log-determinant [N] (dequantization included). `noise` takes the place of the draw. */
  density(ctx: Context, x: Value, noise?: Value): { z: Value; logDet: Value } {
    return this.params.enter(() => {
      const unit = map([x], (a) => E.mul(E.add(a, 1), 0.5));
      const dequantized = this.#dequantizer.dequantize(ctx, unit, noise);
      const logits = this.#logit.forward(ctx, dequantized.x);
      const { y, logDet } = this.#scales.forward(ctx, logits.y);
      return { z: y, logDet: sumLogDets([dequantized.logDet, logits.logDet, logDet]) };
    });
  }

  /** z [N,H,W,C] → images; neither dequantization nor (by default) the logit's bound is undone. */
  sample(ctx: Context, z: Value, options: SampleOptions = {}): FlowSample {
    return this.params.enter(() => {
      const { x: logits, logDet } = this.#scales.inverse(ctx, z);
      const x = map([logits], (v) => {
        const image = E.sub(E.mul(2, E.sigmoid(v)), 1);
        return options.undoBound ? E.clamp(E.mul(image, 1 / LOGIT_BOUND), -1, 1) : image;
      });
      return { logits, x, logDet };
    });
  }
}

/** log q(x) [N] = Σ −½(z² + log 2π) − D·log L + log-det, for L grey levels. */
export function logLikelihood(z: Value, logDet: Value, levels: number): Value {
  const dimensions = z.shape.slice(1).reduce((a, b) => a * b, 1);
  const prior = perImage(map([z], (v) => E.mul(-0.5, E.square(v))));
  const constant = -dimensions * (0.5 * Math.log(2 * Math.PI) + Math.log(levels));
  return map([prior, logDet], (p, l) => E.add(E.add(p, l), constant));
}

/** −mean log q(x), a scalar. */
export function nll(z: Value, logDet: Value, levels: number): Value {
  return neg(scalar(mean(logLikelihood(z, logDet, levels))));
}

/** −log₂ q(x)/D per image [N]. */
export function bitsPerDim(z: Value, logDet: Value, levels: number): Value {
  const dimensions = z.shape.slice(1).reduce((a, b) => a * b, 1);
  return mul(logLikelihood(z, logDet, levels), -1 / (dimensions * Math.LN2));
}
