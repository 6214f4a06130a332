/** Likelihoods under the flow and energies under the EBM of given images. */
import { bitsPerDim } from "../../flow/flow_plus_plus.ts";
import { feed } from "../../graph/build.ts";
import { Graph } from "../../graph/graph.ts";
import { evaluation } from "../../nn/context.ts";
import {
  type Averaged,
  declareModels,
  type GivenDraw,
  imagesShape,
  keyFeed,
  type ModelConfig,
  type ModelProgram,
} from "./program.ts";

/** What is compiled into the density program. */
export interface DensityConfig extends ModelConfig {
  readonly batch: number;
  readonly averaged?: Averaged;
  readonly given?: readonly GivenDraw[];
}

/**
 * Evaluation mode; the dequantization noise is drawn.
 *
 * Feeds: `data` [N,H,W,C] in [−1, 1], `key` u32[4] (unless nothing is drawn); `eps` if given.
 * Fetches: `bits_per_dim` [N] = −log₂ q(x)/D, `energy` [N] = f(x) (larger = more likely), `z` [N,H,W,C].
 */
export function density(config: DensityConfig): ModelProgram {
  const g = new Graph();
  const { batch, averaged = {}, given = [] } = config;
  const { flow, energy } = declareModels(g, config, averaged);
  const shape = imagesShape(config, batch);
  const data = feed(g, "data", shape);
  const fed = given.includes("eps");
  const noise = fed ? feed(g, "eps", shape) : undefined;
  const { z, logDet } = flow.density(evaluation(fed ? undefined : keyFeed(g), "density/"), data, noise);
  g.fetch("bits_per_dim", bitsPerDim(z, logDet, config.flow.levels));
  g.fetch("energy", energy.forward(data));
  g.fetch("z", z);
  return { graph: g, specs: [...flow.params.specs, ...energy.params.specs] };
}
