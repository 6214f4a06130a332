/** An energy network on points of the plane. */
import { map, reshape, sum } from "../graph/build.ts";
import { E } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import type { Params } from "../nn/params.ts";
import { Perceptron } from "../nn/perceptron.ts";
import type { EnergyNetwork, StateStep } from "./config.ts";

/** Settings of a {@linkcode PointEnergy}. */
export interface PointEnergyConfig {
  /** Width of the perceptron. */
  readonly channels: number;
  /** Hidden layers. */
  readonly layers: number;
  /** Standard deviation of the normal distribution that the network's output is relative to. */
  readonly scale: number;
}

/** f(x) = perceptron(x) − ‖x‖²/(2·scale²) of points [N,1,1,2]: an untrained one is nearly normal, and none is heavy far from the data. */
export class PointEnergy implements EnergyNetwork {
  readonly params: Params;
  readonly #layers: Perceptron;
  readonly #scale: number;

  constructor(params: Params, { channels, layers, scale }: PointEnergyConfig) {
    this.params = params;
    this.#scale = scale;
    this.#layers = new Perceptron(params.scope("f"), [2, ...Array.from({ length: layers }, () => channels), 1]);
  }

  forward(x: Value): Value {
    return this.params.enter(() => {
      const base = sum(map([x], (a) => E.mul(-0.5 / this.#scale ** 2, E.square(a))), [1, 2, 3]);
      return reshape(map([this.#layers.forward(x), base], E.add), [x.shape[0]!]);
    });
  }

  step(): readonly StateStep[] {
    return [];
  }
}
