/** The programs that learn and judge densities of the plane, from the parts that images' programs are made of. Points are images [N,1,1,2]. */
import { langevin } from "../../energy/langevin.ts";
import type { EnergyNetwork } from "../../energy/config.ts";
import { PointEnergy } from "../../energy/point_energy.ts";
import { logLikelihood } from "../../flow/flow_plus_plus.ts";
import { PointFlow } from "../../flow/point_flow.ts";
import { concat, feed, map, mean, scalar, slice, stopGradient, sub, uniform } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import type { Shape } from "../../graph/shape.ts";
import { evaluation, training } from "../../nn/context.ts";
import { AVERAGE_PREFIX, Params } from "../../nn/params.ts";
import { chainConfigOf, energyOptimizerOf, flowOptimizerOf } from "../model_programs.ts";
import { commit } from "../programs/commit.ts";
import { chainOptions, EBM_PREFIX, FLOW_PREFIX, keyFeed, latent, type ModelProgram } from "../programs/program.ts";
import { energyGradients, energyUpdate, flowGradients, flowUpdate } from "../programs/updates.ts";
import type { Toy2dConfig } from "./config.ts";
import { SQUARE } from "./densities.ts";

interface PointModels {
  readonly flow: PointFlow;
  readonly energy: EnergyNetwork;
}

const points = (n: number): Shape => [n, 1, 1, 2];

function declare(g: Graph, config: Toy2dConfig, average: boolean): PointModels {
  const prefix = average ? AVERAGE_PREFIX : "";
  return {
    flow: new PointFlow(new Params(g, `${prefix}${FLOW_PREFIX}`), config.flow),
    energy: new PointEnergy(new Params(g, `${prefix}${EBM_PREFIX}`), config.energy),
  };
}

function specsOf({ flow, energy }: PointModels): ModelProgram["specs"] {
  return [...flow.params.specs, ...energy.params.specs];
}

/** Proposals of the flow in the square. One that overflows, as few of millions do where the flow is steep, is left to the chain: it starts at 0. */
function propose({ flow }: PointModels, z: Value): Value {
  const { low, high } = SQUARE;
  return map([flow.sample(evaluation(), z).x], (x) => E.select(E.isFinite(x), E.clamp(x, low, high), 0));
}

/** The Langevin chain from `start`, [n,1,1,2]; feed `step_size`. */
function revise({ energy }: PointModels, config: Toy2dConfig, start: Value, stream: string): Value {
  const g = start.graph;
  const options = chainOptions(() => keyFeed(g), g, start.shape, chainConfigOf(config), stream);
  return langevin(g, (x) => energy.forward(x), start, options).x;
}

/** The flow's activation norms take their start from data. Feeds `data` [n,1,1,2]; assigns as {@linkcode initialise} of images does. */
export function initialisePoints(config: Toy2dConfig, n: number): ModelProgram {
  const g = new Graph();
  const models = declare(g, config, false);
  models.flow.density({ training: true, mode: "initialise", streamPrefix: "init/" }, feed(g, "data", points(n)));
  return { graph: g, specs: specsOf(models) };
}

/**
 * One learning iteration: as that of images ({@linkcode learn}), but that some chains start anywhere in the square. These teach the EBM alone.
 *
 * Feeds: `data` [batch + wide,1,1,2], `key`, `step_size`, scalars as `learnScalars` gives them.
 * Fetches and assigns: as that of images; neither network moves when a value is not finite.
 */
export function learnPoints(config: Toy2dConfig): ModelProgram {
  const g = new Graph();
  const models = declare(g, config, false);
  const { training: { batch }, wide } = config;
  const key = (): Value => keyFeed(g);
  const data = feed(g, "data", points(batch + wide));
  const proposals = stopGradient(propose(models, latent(key, g, points(batch), "proposal/z", [])));
  const anywhere = map(
    [uniform(key(), "chain/start", points(wide))],
    (u) => E.add(E.mul(SQUARE.high - SQUARE.low, u), SQUARE.low),
  );
  const start = concat([proposals, anywhere], 0);
  const revised = stopGradient(revise(models, config, start, "chain/noise"));
  const ofProposals = slice(revised, 0, 0, batch);
  const change = map([scalar(mean(map([sub(ofProposals, proposals)], E.square)))], E.sqrt);
  const [flowOptimizer, energyOptimizer] = [flowOptimizerOf(config), energyOptimizerOf(config)];
  const { flow, energy } = models;
  const ofFlow = flowUpdate(
    flow,
    flowGradients(flow, training(undefined, "update/"), ofProposals, undefined),
    flowOptimizer,
  );
  const ofEnergy = energyUpdate(
    energy,
    energyGradients(energy, revised, data, config.training.ebm.magnitude),
    batch + wide,
  );
  const { verdicts, specs } = commit(g, {
    flow,
    energy,
    energySteps: energy.step(),
    change,
    ofFlow,
    ofEnergy,
    flowOptimizer,
    energyOptimizer,
  });
  const report = { ...ofFlow.report, ...ofEnergy.report, change, ...verdicts };
  for (const [name, value] of Object.entries(report)) g.fetch(name, value);
  return { graph: g, specs };
}

/** Feed `data` [n,1,1,2]; fetches log q of the flow and f of the energy network [n], both with averaged parameters. */
export function scorePoints(config: Toy2dConfig, n: number): ModelProgram {
  const g = new Graph();
  const models = declare(g, config, true);
  const data = feed(g, "data", points(n));
  const { z, logDet } = models.flow.density(evaluation(), data);
  g.fetch("log_q", logLikelihood(z, logDet, models.flow.config.levels));
  g.fetch("f", models.energy.forward(data));
  return { graph: g, specs: specsOf(models) };
}

/** Feeds `key`, `step_size`; fetches `proposals` and what the chain makes of them, `images` [n,1,1,2], with averaged parameters. */
export function samplePoints(config: Toy2dConfig, n: number): ModelProgram {
  const g = new Graph();
  const models = declare(g, config, true);
  const key = (): Value => keyFeed(g);
  const proposals = propose(models, latent(key, g, points(n), "sample/z", []));
  g.fetch("proposals", proposals);
  g.fetch("images", revise(models, config, proposals, "sample/noise"));
  return { graph: g, specs: specsOf(models) };
}
