/** Synthesis: the flow's proposals and what the Langevin flow makes of them. */
import { langevin, LANGEVIN_DEFAULTS } from "../../energy/langevin.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { evaluation } from "../../nn/context.ts";
import {
  type Averaged,
  type ChainConfig,
  chainOptions,
  declareModels,
  type GivenDraw,
  imagesShape,
  keyFeed,
  latent,
  type ModelConfig,
  type ModelProgram,
  noiseImages,
} from "./program.ts";

/** What is compiled into the sampling program. */
export interface SampleConfig extends ModelConfig {
  readonly batch: number;
  /** Default: the reference's. */
  readonly chain?: ChainConfig;
  readonly averaged?: Averaged;
  /** Undo the logit's 0.9, so that samples reach ±1 as data do (default: no, as in the reference). */
  readonly undoBound?: boolean;
  readonly given?: readonly GivenDraw[];
  /** Chains start from the flow's proposals (the default), or from uniform noise: that is `proposals` then. */
  readonly start?: "proposals" | "noise";
  /** Default true; false: no chain, `images` are the proposals. */
  readonly revise?: boolean;
  /** Also deliver the images that each Langevin step started from. */
  readonly trajectory?: boolean;
}

/**
 * N samples in evaluation mode; image n depends on (seed, first sample + n) alone.
 *
 * Feeds: `key` u32[4] = (seed, 0, index of the first sample, 0), `step_size`; `z`, `noise`, `accept` if given.
 * Fetches: `proposals`, `images` [N,H,W,C], `trajectory` [T,N,H,W,C] if asked for.
 */
export function sample(config: SampleConfig): ModelProgram {
  const g = new Graph();
  const { batch, chain = LANGEVIN_DEFAULTS, averaged = {}, given = [], undoBound = false, trajectory = false } = config;
  const { flow, energy } = declareModels(g, config, averaged);
  const shape = imagesShape(config, batch);
  const key = (): Value => keyFeed(g);
  const proposals = config.start === "noise"
    ? noiseImages(key(), "sample/start", shape)
    : flow.sample(evaluation(), latent(key, g, shape, "sample/z", given), { undoBound }).x;
  g.fetch("proposals", proposals);
  const specs = [...flow.params.specs, ...energy.params.specs];
  if (config.revise === false) {
    g.fetch("images", proposals);
    return { graph: g, specs };
  }
  const moves = chainOptions(key, g, shape, chain, "sample/noise", given);
  const run = langevin(g, (x) => energy.forward(x), proposals, { ...moves, trajectory });
  g.fetch("images", run.x);
  if (run.trajectory) g.fetch("trajectory", run.trajectory);
  return { graph: g, specs };
}
