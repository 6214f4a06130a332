/** A flow on points of the plane: Flow++'s steps with perceptrons, without dequantization and logit. */
import type { Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import type { Params } from "../nn/params.ts";
import type { Bijector } from "./bijector.ts";
import type { Coupling } from "./config.ts";
import { couplingSteps, type FlowNetwork } from "./flow_plus_plus.ts";
import { OnHalves } from "./reshapes.ts";

/** Settings of a {@linkcode PointFlow}. */
export interface PointFlowConfig {
  /** [ActNorm, 1×1 convolution, coupling, flip], so many times. */
  readonly steps: number;
  readonly coupling: Coupling;
  /** Width of the couplings' perceptrons. */
  readonly channels: number;
  /** Hidden layers of each. */
  readonly layers: number;
  /** Logistic distributions in each mixture. */
  readonly components: number;
}

/** q(x) of points [N,1,1,2]: one coordinate is changed given the other, in turn. States `steps.i…`. */
export class PointFlow implements FlowNetwork {
  readonly params: Params;
  readonly config = { levels: 1 };
  readonly #steps: Bijector<Value>;

  constructor(params: Params, { steps, coupling, channels, layers, components }: PointFlowConfig) {
    this.params = params;
    const scope = params.scope("steps");
    const options = {
      network: "perceptron",
      channels,
      blocks: layers,
      components,
      dropout: 0,
      attention: false,
    } as const;
    const chain = couplingSteps(scope, steps, 1, { ...options, invConv: true, coupling });
    this.#steps = new OnHalves(
      {
        forward: (ctx, x) => scope.enter(() => chain.forward(ctx, x)),
        inverse: (ctx, y) => scope.enter(() => chain.inverse(ctx, y)),
      },
      "channelwise",
    );
  }

  /** Points [N,1,1,2] → z and the log-determinant [N]. */
  density(ctx: Context, x: Value): { z: Value; logDet: Value } {
    return this.params.enter(() => {
      const { y, logDet } = this.#steps.forward(ctx, x);
      return { z: y, logDet };
    });
  }

  /** z [N,1,1,2] → points. */
  sample(ctx: Context, z: Value): { x: Value; logDet: Value } {
    return this.params.enter(() => this.#steps.inverse(ctx, z));
  }
}
