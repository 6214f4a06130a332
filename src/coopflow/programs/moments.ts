/** What maximum likelihood makes equal: the gradients of the energy, averaged over data and over what is synthesised. */
import { grad } from "../../autodiff/grad.ts";
import type { EnergyConfig } from "../../energy/config.ts";
import { createEnergy } from "../../energy/network.ts";
import { feed, map, scalar, sum } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph } from "../../graph/graph.ts";
import { AVERAGE_PREFIX, Params } from "../../nn/params.ts";
import { EBM_PREFIX, type ModelProgram } from "./program.ts";

/** What is compiled into the program. */
export interface MomentsConfig {
  readonly energy: EnergyConfig;
  readonly batch: number;
  /** Take the energy network from its moving averages. */
  readonly averaged?: boolean;
}

/**
 * Feeds: `images` [N,H,W,C], `weight` [N].
 * Fetches: for each trained tensor θ, under its name without prefix, Σₙ weightₙ·∂f(imagesₙ)/∂θ.
 */
export function moments(config: MomentsConfig): ModelProgram {
  const g = new Graph();
  const { energy: { height, width, channelsIn }, batch } = config;
  const prefix = `${config.averaged ? AVERAGE_PREFIX : ""}${EBM_PREFIX}`;
  const energy = createEnergy(new Params(g, prefix), config.energy);
  const f = energy.forward(feed(g, "images", [batch, height, width, channelsIn]));
  const weighted = map([f, feed(g, "weight", [batch])], (v, w) => E.mul(v, w));
  const params = energy.params.trainable;
  const gradients = grad(scalar(sum(weighted)), params.map(({ value }) => value));
  params.forEach(({ spec }, i) => g.fetch(spec.name.slice(prefix.length), gradients[i]!));
  return { graph: g, specs: energy.params.specs };
}
