/**
 * A learning iteration in parts: programs that add the gradients of a micro-batch to what others left, and programs that step along the sum. Together
 * n micro-batches of N images make the step that one batch of n·N would, in the memory that N take.
 */
import { FlowPlusPlus } from "../../flow/flow_plus_plus.ts";
import { feed, map, state } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { training } from "../../nn/context.ts";
import { type Param, Params, type ParamSpec } from "../../nn/params.ts";
import { filled } from "../../nn/initializers.ts";
import { commit } from "./commit.ts";
import { commitFlow, type PretrainConfig } from "./pretrain.ts";
import { declareModels, FLOW_PREFIX, keyFeed, type ModelProgram, scalarFeed } from "./program.ts";
import { type LearnConfig, synthesise } from "./synthesis.ts";
import {
  ENERGY_OPTIMIZER,
  energyUpdate,
  FLOW_OPTIMIZER,
  flowGradients,
  flowUpdate,
  type Gradients,
} from "./updates.ts";

/** Name of the sum of a parameter's gradients. */
export function accumulatedName(parameter: string): string {
  return `accumulated.${parameter}`;
}

/** The sum of a parameter's gradients over the micro-batches of an iteration: of no worth between iterations. */
export function accumulatedSpec({ name, shape }: Pick<ParamSpec, "name" | "shape">): ParamSpec {
  return { name: accumulatedName(name), shape, kind: "buffer", trainable: false, init: () => filled(shape, 0)(0, "") };
}

const sumOf = ({ spec, value }: Param): Value => state(value.graph, accumulatedName(spec.name), spec.shape);

/** Adds gradients to their sums, or begins new sums where the feed `fresh` is 1; fetches the reports. */
function addUp(g: Graph, trained: readonly Param[], { report, of }: Gradients): ParamSpec[] {
  const fresh = scalarFeed(g, "fresh");
  for (const [name, value] of Object.entries(report)) g.fetch(name, value);
  return trained.map((param, i) => {
    const next = map([fresh, sumOf(param), of[i]!], (f, sum, slope) => E.select(f, slope, E.add(sum, slope)));
    g.assign(accumulatedName(param.spec.name), next);
    return accumulatedSpec(param.spec);
  });
}

/**
 * The gradients of a micro-batch of {@linkcode learn}. Feeds: `data` [N,H,W,C]; `key` u32[4] = (seed, iteration, index of the first image in the
 * iteration, 0); `step_size`; `fresh` (1: the first micro-batch of an iteration).
 *
 * Fetches: `flow_nll`, `f_proposal`, `f_revised`, `f_data`, `ebm_loss` (, `ebm_magnitude`), `change` (, `acceptance`): means over the micro-batch, `change`
 * the root of one. Assigns: `accumulated.flow.…`, `accumulated.ebm.…`.
 */
export function learnGradients(config: LearnConfig): ModelProgram {
  const g = new Graph();
  const { flow, energy, before, ofFlow, ofEnergy, ofChain } = synthesise(g, config);
  const sums = ofFlow ? addUp(g, flow.params.trainable, ofFlow()) : [];
  for (const [name, value] of Object.entries(before)) g.fetch(name, value);
  sums.push(...addUp(g, energy.params.trainable, ofEnergy()));
  for (const [name, value] of Object.entries(ofChain)) g.fetch(name, value);
  return { graph: g, specs: [...flow.params.specs, ...energy.params.specs, ...sums] };
}

/**
 * The step of {@linkcode learn} along the gradients of n micro-batches. Feeds: the scalars of {@linkcode learn} apart from `step_size`, and the means
 * `change` (of squares, then the root), `flow_nll`, `f_revised`, `f_data` over the micro-batches, which an update needs to be finite.
 *
 * Fetches: `flow_norm`, `flow_norm_gains`, `flow_norm_rest`, `ebm_norm`, `finite`, `flow_ok`, `ebm_ok`. Assigns what {@linkcode learn} does.
 */
export function learnStep(config: LearnConfig, microBatches: number): ModelProgram {
  const g = new Graph();
  const { flowOptimizer = FLOW_OPTIMIZER, energyOptimizer = ENERGY_OPTIMIZER, flowUpdate: both = true } = config;
  const models = declareModels(g, config);
  const { flow, energy } = models;
  const given = (...names: string[]): Record<string, Value> =>
    Object.fromEntries(names.map((name) => [name, scalarFeed(g, name)]));
  const flowSums = { report: both ? given("flow_nll") : {}, of: both ? flow.params.trainable.map(sumOf) : [] };
  const energySums = { report: given("f_revised", "f_data"), of: energy.params.trainable.map(sumOf) };
  const ofFlow = both ? flowUpdate(flow, flowSums, flowOptimizer, microBatches) : undefined;
  const ofEnergy = energyUpdate(energy, energySums, microBatches * config.batch);
  const { verdicts, specs } = commit(g, {
    ...models,
    energySteps: energy.step(),
    change: scalarFeed(g, "change"),
    ofFlow,
    ofEnergy,
    flowOptimizer,
    energyOptimizer,
  });
  const isGiven = new Set([...Object.keys(flowSums.report), ...Object.keys(energySums.report)]);
  for (const [name, value] of Object.entries({ ...ofFlow?.report, ...ofEnergy.report, ...verdicts })) {
    if (!isGiven.has(name)) g.fetch(name, value);
  }
  const summed = [...(both ? flow.params.trainable : []), ...energy.params.trainable];
  return { graph: g, specs: [...specs, ...summed.map(({ spec }) => accumulatedSpec(spec))] };
}

/** The gradients of a micro-batch of {@linkcode pretrain}. Feeds `data`, `key`, `fresh` as {@linkcode learnGradients}; fetches `flow_nll`. */
export function pretrainGradients(config: PretrainConfig): ModelProgram {
  const g = new Graph();
  const flow = new FlowPlusPlus(new Params(g, FLOW_PREFIX), config.flow);
  const { height, width, channelsIn } = config.flow;
  const data = feed(g, "data", [config.batch, height, width, channelsIn]);
  const gradients = flowGradients(flow, training(keyFeed(g), "update/", config.recompute), data, undefined);
  return { graph: g, specs: [...flow.params.specs, ...addUp(g, flow.params.trainable, gradients)] };
}

/** The step of {@linkcode pretrain} along the gradients of n micro-batches; feeds and fetches as {@linkcode learnStep} has them of the flow. */
export function pretrainStep(
  { flow: of, flowOptimizer = FLOW_OPTIMIZER }: PretrainConfig,
  microBatches: number,
): ModelProgram {
  const g = new Graph();
  const flow = new FlowPlusPlus(new Params(g, FLOW_PREFIX), of);
  const sums = { report: { flow_nll: scalarFeed(g, "flow_nll") }, of: flow.params.trainable.map(sumOf) };
  const update = flowUpdate(flow, sums, flowOptimizer, microBatches);
  return commitFlow(g, flow, update, flowOptimizer);
}
