/** A part of a Langevin chain of any length, watched. */
import { langevin } from "../../energy/langevin.ts";
import type { EnergyConfig } from "../../energy/config.ts";
import { createEnergy } from "../../energy/network.ts";
import { feed } from "../../graph/build.ts";
import { Graph } from "../../graph/graph.ts";
import { AVERAGE_PREFIX, Params } from "../../nn/params.ts";
import { type ChainConfig, chainOptions, EBM_PREFIX, keyFeed, type ModelProgram } from "./program.ts";

/** Steps of one part. */
export const CHAIN_PART = 50;

/** What is compiled into the program. */
export interface WatchedChainConfig {
  readonly energy: EnergyConfig;
  readonly batch: number;
  readonly chain: ChainConfig;
  /** Take the energy network from its moving averages. */
  readonly averaged?: boolean;
}

/**
 * T steps from given images, the same as in sampling.
 *
 * Feeds: `start`, `origin` [N,H,W,C], scalar `step_size`; with noise `key` u32[4] = (seed, part, index of the first sample, 0).
 * Fetches: `images` [N,H,W,C] after the last step; of where each step started from, [T,N]: `energy` f, `slope_norm`, `clamped_moves`,
 * `clamped_pixels`, `distance` from `origin` (, `accepted`: 1 if the step's move was, else 0, with Metropolis adjustment).
 */
export function chain(config: WatchedChainConfig): ModelProgram {
  const g = new Graph();
  const { energy: { height, width, channelsIn }, batch } = config;
  const energy = createEnergy(new Params(g, `${config.averaged ? AVERAGE_PREFIX : ""}${EBM_PREFIX}`), config.energy);
  const shape = [batch, height, width, channelsIn];
  const moves = chainOptions(() => keyFeed(g), g, shape, config.chain, "sample/noise");
  const run = langevin(g, (x) => energy.forward(x), feed(g, "start", shape), {
    ...moves,
    energies: true,
    watch: feed(g, "origin", shape),
  });
  const { slopeNorm, clampedMoves, clampedPixels, distance } = run.steps!;
  g.fetch("images", run.x);
  g.fetch("energy", run.energies!);
  g.fetch("slope_norm", slopeNorm);
  g.fetch("clamped_moves", clampedMoves);
  g.fetch("clamped_pixels", clampedPixels);
  g.fetch("distance", distance);
  if (run.accepted) g.fetch("accepted", run.accepted);
  return { graph: g, specs: energy.params.specs };
}
