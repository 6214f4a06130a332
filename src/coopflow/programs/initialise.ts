/** Data-dependent start of the flow's activation norms. */
import type { FlowConfig } from "../../flow/config.ts";
import { FlowPlusPlus } from "../../flow/flow_plus_plus.ts";
import { feed } from "../../graph/build.ts";
import { Graph } from "../../graph/graph.ts";
import { Params } from "../../nn/params.ts";
import { FLOW_PREFIX, type GivenDraw, keyFeed, type ModelProgram } from "./program.ts";

/** What is compiled into the program. */
export interface InitialiseConfig {
  readonly flow: FlowConfig;
  /** Images of the one large batch: the reference concatenates 20 batches. */
  readonly batch: number;
  readonly given?: readonly GivenDraw[];
}

/**
 * One pass in training mode (dropout on, dequantization random), in which each activation norm takes its mean and scale from what the layers before it,
 * initialised by the same pass, make of the data. Run it once, before the first update of a fresh model.
 *
 * Feeds: `data` [N,H,W,C], `key` u32[4] (unless nothing is drawn); `eps` if given. No fetches.
 * Assigns: `mean`, `inv_std`, `is_initialized` of every activation norm.
 */
export function initialise(config: InitialiseConfig): ModelProgram {
  const g = new Graph();
  const { given = [] } = config;
  const flow = new FlowPlusPlus(new Params(g, FLOW_PREFIX), config.flow);
  const { height, width, channelsIn, dropout } = config.flow;
  const shape = [config.batch, height, width, channelsIn];
  const fed = given.includes("eps");
  const noise = fed ? feed(g, "eps", shape) : undefined;
  const draws = dropout > 0 || !fed;
  flow.density(
    { training: true, mode: "initialise", streamPrefix: "init/", ...(draws ? { key: keyFeed(g) } : {}) },
    feed(g, "data", shape),
    noise,
  );
  return { graph: g, specs: flow.params.specs };
}
