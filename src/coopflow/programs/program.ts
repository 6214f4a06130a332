/** What the programs of one model share: configuration, the models in a graph, and the usual feeds. */
import type { EnergyConfig, EnergyNetwork } from "../../energy/config.ts";
import { createEnergy } from "../../energy/network.ts";
import { type LangevinOptions } from "../../energy/langevin.ts";
import { ConfigError } from "../../errors.ts";
import type { FlowConfig } from "../../flow/config.ts";
import { FlowPlusPlus } from "../../flow/flow_plus_plus.ts";
import { feed, map, normal, uniform } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import type { Graph, Value } from "../../graph/graph.ts";
import { numel, type Shape } from "../../graph/shape.ts";
import { AVERAGE_PREFIX, Params, type ParamSpec } from "../../nn/params.ts";
import { uniforms } from "../../random.ts";

/** Prefix of the normalizing flow's states. */
export const FLOW_PREFIX = "flow.";
/** Prefix of the energy-based model's states. */
export const EBM_PREFIX = "ebm.";

/** The two networks of a CoopFlow. */
export interface ModelConfig {
  readonly flow: FlowConfig;
  readonly energy: EnergyConfig;
}

/** A graph that is ready to be compiled, and the states that it needs. */
export interface ModelProgram {
  readonly graph: Graph;
  /** Every state that the models (and the optimizer) own; the program may read only some of them. */
  readonly specs: readonly ParamSpec[];
}

/** The compiled-in part of a Langevin chain; see {@linkcode LangevinOptions}. */
export interface ChainConfig {
  /** T. */
  readonly steps: number;
  readonly noise: boolean;
  readonly moveClamp?: number;
  readonly range?: readonly [low: number, high: number];
  /** Metropolis adjustment; needs noise. */
  readonly metropolis?: boolean;
  /** The feed `step_size` has one value for each step: [T]. */
  readonly scheduled?: boolean;
}

/** Draws that the host gives instead (feeds `z`, `eps`, `noise`, `accept`), as comparisons with another program need. */
export type GivenDraw = "z" | "eps" | "noise" | "accept";

/** Which of the two models are taken from their moving averages. */
export interface Averaged {
  readonly flow?: boolean;
  readonly energy?: boolean;
}

/** The two networks in one graph. */
export interface Models {
  readonly flow: FlowPlusPlus;
  readonly energy: EnergyNetwork;
}

/**
 * Declares the networks' states, flow first.
 *
 * @throws {ConfigError} if a network can't be built, or the two disagree about the images
 */
export function declareModels(g: Graph, config: ModelConfig, averaged: Averaged = {}): Models {
  for (const key of ["height", "width", "channelsIn"] as const) {
    if (config.flow[key] !== config.energy[key]) {
      throw new ConfigError(`energy.${key}`, `expected the flow's ${config.flow[key]}, found ${config.energy[key]}`);
    }
  }
  const prefix = (name: string, average?: boolean): string => `${average ? AVERAGE_PREFIX : ""}${name}`;
  return {
    flow: new FlowPlusPlus(new Params(g, prefix(FLOW_PREFIX, averaged.flow)), config.flow),
    energy: createEnergy(new Params(g, prefix(EBM_PREFIX, averaged.energy)), config.energy),
  };
}

/** The state that persistent chains are kept in. */
export const CHAINS = "chains";

/** {@linkcode CHAINS} for images of this shape: uniform noise in [−1, 1] before the first iteration. */
export function chainsSpec(shape: Shape): ParamSpec {
  const init = (seed: number): Float32Array => uniforms(seed, CHAINS, numel(shape)).map((u) => 2 * u - 1);
  return { name: CHAINS, shape, kind: "buffer", trainable: false, init };
}

/** Uniform noise in [−1, 1]. */
export function noiseImages(key: Value, stream: string, shape: Shape): Value {
  return map([uniform(key, stream, shape)], (u) => E.sub(E.mul(2, u), 1));
}

/** Shape [N,H,W,C] of a batch of images. */
export function imagesShape(config: ModelConfig, batch: number): Shape {
  const { height, width, channelsIn } = config.flow;
  if (!Number.isInteger(batch) || batch < 1) {
    throw new ConfigError("batch", `expected a positive integer, found ${batch}`);
  }
  return [batch, height, width, channelsIn];
}

/** Feed `key`: u32[4] = (seed, iteration, first sample, 0). */
export function keyFeed(g: Graph): Value {
  return feed(g, "key", [4], "u32");
}

/** A scalar feed. */
export function scalarFeed(g: Graph, name: string): Value {
  return feed(g, name, []);
}

/** The latent z: drawn, or the feed `z`. */
export function latent(key: () => Value, g: Graph, shape: Shape, stream: string, given: readonly GivenDraw[]): Value {
  return given.includes("z") ? feed(g, "z", shape) : normal(key(), stream, shape);
}

/** Feed `step_size`: a scalar, or [T] if it is scheduled. */
export function stepSizeFeed(g: Graph, { steps, scheduled = false }: Pick<ChainConfig, "steps" | "scheduled">): Value {
  return feed(g, "step_size", scheduled ? [steps] : []);
}

/** The options of a chain with the feed `step_size`, and the noise drawn from `key` or fed as `noise` [T,N,H,W,C] (and `accept` [T,N]). */
export function chainOptions(
  key: () => Value,
  g: Graph,
  shape: Shape,
  chain: ChainConfig,
  stream: string,
  given: readonly GivenDraw[] = [],
): LangevinOptions {
  const fed = chain.noise && given.includes("noise");
  const uniformsFed = chain.metropolis === true && given.includes("accept");
  const drawn = chain.noise && !fed || chain.metropolis === true && !uniformsFed;
  return {
    ...chain,
    stepSize: stepSizeFeed(g, chain),
    noise: fed ? feed(g, "noise", [chain.steps, ...shape]) : chain.noise,
    stream,
    ...(uniformsFed ? { metropolis: feed(g, "accept", [chain.steps, shape[0]!]) } : {}),
    ...(drawn ? { key: key() } : {}),
  };
}
