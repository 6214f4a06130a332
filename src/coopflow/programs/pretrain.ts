/** One maximum-likelihood step of the flow alone on data: the first stage of CoopFlow(Pre). */
import type { FlowConfig } from "../../flow/config.ts";
import { FlowPlusPlus } from "../../flow/flow_plus_plus.ts";
import { feed, map } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph } from "../../graph/graph.ts";
import { training } from "../../nn/context.ts";
import { Params } from "../../nn/params.ts";
import { FLOW_PREFIX, keyFeed, type ModelProgram, scalarFeed } from "./program.ts";
import {
  allFinite,
  applyUpdate,
  FLOW_OPTIMIZER,
  flowGradients,
  type FlowOptimizerConfig,
  flowUpdate,
  type Update,
} from "./updates.ts";

/** What is compiled into the program. */
export interface PretrainConfig {
  readonly flow: FlowConfig;
  readonly batch: number;
  /** Compute the insides of coupling layers again in the backward pass. */
  readonly recompute?: boolean;
  readonly flowOptimizer?: FlowOptimizerConfig;
}

/**
 * One Adam step on −mean log q(data), dropout on.
 *
 * Feeds: `data` [N,H,W,C], `key` u32[4], scalars `flow_on`, `flow_lr`, `flow_c1`, `flow_c2`, `flow_clip`, `flow_threshold` (, `flow_decay`).
 * Fetches: `flow_nll`, `flow_norm`, `flow_norm_gains`, `flow_norm_rest`, `finite`, `flow_ok`.
 * Assigns: `flow.…`, `adam.m.flow.…`, `adam.v.flow.…` (, `ema.flow.…`), which keep their bits where `flow_ok` is 0.
 */
export function pretrain(config: PretrainConfig): ModelProgram {
  const g = new Graph();
  const { flowOptimizer = FLOW_OPTIMIZER } = config;
  const flow = new FlowPlusPlus(new Params(g, FLOW_PREFIX), config.flow);
  const { height, width, channelsIn } = config.flow;
  const data = feed(g, "data", [config.batch, height, width, channelsIn]);
  const gradients = flowGradients(flow, training(keyFeed(g), "update/", config.recompute), data, undefined);
  return commitFlow(g, flow, flowUpdate(flow, gradients, flowOptimizer), flowOptimizer);
}

/** The step of the flow alone, skipped as {@linkcode pretrain} says; fetches what there is to report. */
export function commitFlow(g: Graph, flow: FlowPlusPlus, update: Update, optimizer: FlowOptimizerConfig): ModelProgram {
  const finite = allFinite([update.report.flow_nll!, update.norm]);
  const ok = map(
    [finite, scalarFeed(g, "flow_on"), update.norm, scalarFeed(g, "flow_threshold")],
    (f, on, norm, limit) => E.mul(E.mul(f, on), E.lt(norm, limit)),
  );
  const specs = [...flow.params.specs, ...applyUpdate(g, "flow", update, ok, optimizer)];
  for (const [name, value] of Object.entries({ ...update.report, finite, flow_ok: ok })) g.fetch(name, value);
  return { graph: g, specs };
}
