/** The first half of a learning iteration: proposals, and what the Langevin chain makes of them. */
import { langevin, LANGEVIN_DEFAULTS } from "../../energy/langevin.ts";
import type { StateStep } from "../../energy/config.ts";
import { feed, map, mean, scalar, state, stopGradient, sub } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import type { Graph, Value } from "../../graph/graph.ts";
import { type Context, training } from "../../nn/context.ts";
import {
  type ChainConfig,
  chainOptions,
  CHAINS,
  declareModels,
  type GivenDraw,
  imagesShape,
  keyFeed,
  latent,
  type ModelConfig,
  type Models,
  noiseImages,
} from "./program.ts";
import {
  energyGradients,
  flowGradients,
  type FlowOptimizerConfig,
  type Gradients,
  type OptimizerConfig,
} from "./updates.ts";

/** What is compiled into the learning program. */
export interface LearnConfig extends ModelConfig {
  /** N: images per iteration, data and synthesised alike. */
  readonly batch: number;
  /** Default: the reference's. */
  readonly chain?: ChainConfig;
  readonly flowOptimizer?: FlowOptimizerConfig;
  readonly energyOptimizer?: OptimizerConfig;
  /** α of {@linkcode energyUpdate}. Default 0. */
  readonly magnitude?: number;
  /** Draws that the host feeds. */
  readonly given?: readonly GivenDraw[];
  /** Whether the flow's update computes the insides of coupling layers again in its backward pass. */
  readonly recompute?: boolean;
  /** Where chains start: from proposals of the flow (the default), from uniform noise, or where the last iteration's ended. */
  readonly start?: "proposals" | "noise" | "persistent";
  /** Default true; false: the EBM learns alone, and the program has nothing of the flow's update. */
  readonly flowUpdate?: boolean;
  /** Fetch `proposals` and `images` too. */
  readonly images?: boolean;
}

/** Images of one batch; the gradients of both losses at them are written where they are asked for. */
export interface Synthesis extends Models {
  readonly energySteps: readonly StateStep[];
  /** Where the chains started. */
  readonly proposal: Value;
  /** Where they ended. */
  readonly revised: Value;
  /** `f_proposal`. */
  readonly before: Readonly<Record<string, Value>>;
  readonly ofFlow: (() => Gradients) | undefined;
  readonly ofEnergy: () => Gradients;
  /** `change` (, `acceptance`). */
  readonly ofChain: Readonly<Record<string, Value>> & { readonly change: Value };
}

/** z ~ N(0, I) → proposal x̂ = g(z), dropout on → T Langevin steps with the current θ → x̃ → the gradients of both losses. */
export function synthesise(g: Graph, config: LearnConfig): Synthesis {
  const { batch, chain = LANGEVIN_DEFAULTS, given = [], start = "proposals", flowUpdate: both = true } = config;
  const { flow, energy } = declareModels(g, config);
  const energySteps = energy.step();
  const shape = imagesShape(config, batch);
  const data = feed(g, "data", shape);
  const key = (): Value => keyFeed(g);
  const draws = config.flow.dropout > 0 || !given.includes("eps");
  const pass = (prefix: string): Context => training(draws ? key() : undefined, prefix, config.recompute);

  const startOf: Record<NonNullable<LearnConfig["start"]>, () => Value> = {
    proposals: () => stopGradient(flow.sample(pass("proposal/"), latent(key, g, shape, "proposal/z", given)).x),
    noise: () => noiseImages(key(), "chain/start", shape),
    persistent: () => state(g, CHAINS, shape),
  };
  const proposal = startOf[start]();
  const moves = chainOptions(key, g, shape, chain, "chain/noise", given);
  const run = langevin(g, (x) => energy.forward(x), proposal, moves);
  const revised = stopGradient(run.x);
  const fProposal = scalar(mean(energy.forward(proposal)));
  const change = map([scalar(mean(map([sub(revised, proposal)], E.square)))], E.sqrt);

  const noise = both && given.includes("eps") ? feed(g, "eps", shape) : undefined;
  return {
    flow,
    energy,
    energySteps,
    proposal,
    revised,
    before: { f_proposal: fProposal },
    ofFlow: both ? () => flowGradients(flow, pass("update/"), revised, noise) : undefined,
    ofEnergy: () => energyGradients(energy, revised, data, config.magnitude),
    ofChain: { change, ...(run.accepted ? { acceptance: scalar(mean(run.accepted)) } : {}) },
  };
}
