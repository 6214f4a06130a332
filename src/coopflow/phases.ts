/** The phases of a learning iteration as programs of their own, to be measured one by one; learning itself is one program. */
import { langevin } from "../energy/langevin.ts";
import { feed, fill } from "../graph/build.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { training } from "../nn/context.ts";
import type { CoopFlowConfig } from "./config.ts";
import { chainConfigOf, energyOptimizerOf, flowOptimizerOf, modelConfigOf } from "./model_programs.ts";
import {
  chainOptions,
  declareModels,
  imagesShape,
  keyFeed,
  latent,
  type ModelProgram,
  type Models,
} from "./programs/program.ts";
import { applyUpdate, energyGradients, energyUpdate, flowGradients, flowUpdate } from "./programs/updates.ts";

/** Names of the phases, in the order in which they run. */
export const PHASES = ["flow_sample", "langevin", "flow_update", "ebm_update"] as const;
/** One of them. */
export type Phase = typeof PHASES[number];

interface Setting {
  readonly g: Graph;
  readonly models: Models;
  readonly shape: readonly number[];
  readonly config: CoopFlowConfig;
}

const BUILDERS: Readonly<Record<Phase, (setting: Setting) => void>> = {
  flow_sample: ({ g, models, shape }) => {
    const z = latent(() => keyFeed(g), g, shape, "proposal/z", []);
    g.fetch("images", models.flow.sample(training(keyFeed(g), "proposal/"), z).x);
  },
  langevin: ({ g, models, shape, config }) => {
    const options = chainOptions(() => keyFeed(g), g, shape, chainConfigOf(config), "chain/noise");
    g.fetch("images", langevin(g, (x) => models.energy.forward(x), feed(g, "images", shape), options).x);
  },
  flow_update: ({ g, models, shape, config }) => {
    const optimizer = flowOptimizerOf(config);
    const ctx = training(keyFeed(g), "update/", config.training.recompute);
    const gradients = flowGradients(models.flow, ctx, feed(g, "images", shape), undefined);
    const update = flowUpdate(models.flow, gradients, optimizer);
    applyUpdate(g, "flow", update, yes(g), optimizer);
    g.fetch("loss", update.report["flow_nll"] ?? yes(g));
  },
  ebm_update: ({ g, models, shape, config }) => {
    const optimizer = energyOptimizerOf(config);
    const { magnitude } = config.training.ebm;
    const gradients = energyGradients(models.energy, feed(g, "images", shape), feed(g, "data", shape), magnitude);
    const update = energyUpdate(models.energy, gradients, shape[0]!);
    applyUpdate(g, "ebm", update, yes(g), optimizer);
    g.fetch("loss", update.report["ebm_loss"] ?? yes(g));
  },
};

function yes(g: Graph): Value {
  return fill(g, 1);
}

/** One phase of {@linkcode learn}, with the same compiled-in settings. Feeds `images`, `data`, `key` and scalars as there. */
export function phaseProgram(config: CoopFlowConfig, phase: Phase): ModelProgram {
  const g = new Graph();
  const models = declareModels(g, modelConfigOf(config));
  const shape = imagesShape(modelConfigOf(config), config.training.batch);
  BUILDERS[phase]({ g, models, shape, config });
  return { graph: g, specs: [...models.flow.params.specs, ...models.energy.params.specs] };
}
