/** One learning iteration of CoopFlow (Xie et al. 2022, Algorithm 1) as one program. */
import { langevin, LANGEVIN_DEFAULTS } from "../../energy/langevin.ts";
import type { EnergyNetwork, StateStep } from "../../energy/config.ts";
import { feed, map, mean, scalar, select, state, stopGradient, sub } from "../../graph/build.ts";
import { E, type Expr } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { training } from "../../nn/context.ts";
import type { ParamSpec } from "../../nn/params.ts";
import { averageName } from "../../optim/adam.ts";
import {
  type ChainConfig,
  chainOptions,
  CHAINS,
  chainsSpec,
  declareModels,
  type GivenDraw,
  imagesShape,
  keyFeed,
  latent,
  type ModelConfig,
  type ModelProgram,
  noiseImages,
  scalarFeed,
} from "./program.ts";
import {
  allFinite,
  applyUpdate,
  ENERGY_OPTIMIZER,
  energyUpdate,
  FLOW_OPTIMIZER,
  type FlowOptimizerConfig,
  flowUpdate,
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

/** Assigns what the energy network keeps beside its parameters; averages repeat it. Returns the specs of these. */
function assignSteps(
  g: Graph,
  { params }: EnergyNetwork,
  steps: readonly StateStep[],
  ok: Value,
  average: boolean,
): ParamSpec[] {
  const specs = new Map(params.specs.map((spec) => [spec.name, spec]));
  return steps.flatMap(({ name, old, next }) => {
    g.assign(name, select(ok, next, old));
    const spec = specs.get(name);
    if (!average || !spec) return [];
    const copy = averageName(name);
    g.assign(copy, select(ok, next, state(g, copy, old.shape)));
    return [{ ...spec, name: copy, kind: "average" as const, init: (seed: number) => spec.init(seed) }];
  });
}

/**
 * z ~ N(0, I) → proposal x̂ = g(z), dropout on → T Langevin steps with the current θ → x̃ → one Adam step of the flow on −mean log q(x̃), dropout on →
 * one Adam step of the EBM on mean f(x̃) − mean f(data) (+ α·(mean f(x̃)² + mean f(data)²)). All see the parameters from before the iteration. Without `flowUpdate` all `flow_…` are left out.
 *
 * Feeds: `data` [N,H,W,C] in [−1, 1]; `key` u32[4] (unless nothing is drawn); scalars `step_size`, `strict`, and for each model (`flow_`, `ebm_`)
 * `on` (1/0: whether to update it), `lr`, `c1` = 1/(1 − β1^t), `c2` = 1/(1 − β2^t), `clip`, `threshold` (∞ = none; the update needs a norm below it), `decay` (with averaging only);
 * `z`, `eps`, `noise`, `accept` if given.
 *
 * Fetches (scalars): `flow_nll`, `flow_norm`, `flow_norm_gains`, `flow_norm_rest`, `f_proposal`, `f_revised`, `f_data`, `ebm_loss` (, `ebm_magnitude`), `ebm_norm` (norms before
 * clipping), `change` = √mean (x̃ − x̂)², `acceptance` (share of the chain's moves, with Metropolis adjustment), `finite` (1 if all of these are), `flow_ok`, `ebm_ok` (1 if the update was made); `proposals`, `images` if asked for.
 *
 * Assigns: parameters `flow.…`, `ebm.…` (spectral norm's vectors too, one power iteration in front of all else), moments `adam.m.…`, `adam.v.…` (, averages `ema.…`). They keep their bits where `ok` is 0: when the model is off, a
 * value that the update uses is not finite, its norm (for the flow also the EBM's) is not below its threshold, or `strict` is 1 and anything at all is not finite.
 */
export function learn(config: LearnConfig): ModelProgram {
  const g = new Graph();
  const { batch, chain = LANGEVIN_DEFAULTS, given = [], start = "proposals", flowUpdate: both = true } = config;
  const { flowOptimizer = FLOW_OPTIMIZER, energyOptimizer = ENERGY_OPTIMIZER } = config;
  const { flow, energy } = declareModels(g, config);
  const energySteps = energy.step();
  const shape = imagesShape(config, batch);
  const data = feed(g, "data", shape);
  const key = (): Value => keyFeed(g);
  const draws = config.flow.dropout > 0 || !given.includes("eps");
  const pass = (prefix: string) => training(draws ? key() : undefined, prefix, config.recompute);

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
  const ofFlow = both ? flowUpdate(flow, pass("update/"), revised, noise, flowOptimizer) : undefined;
  const ofEnergy = energyUpdate(energy, revised, data, config.magnitude);

  const { f_revised: fRevised, f_data: fData } = ofEnergy.report;
  const energyFinite = allFinite([change, fRevised!, fData!, ofEnergy.norm]);
  const flowFinite = ofFlow && allFinite([change, ofFlow.report["flow_nll"]!, ofFlow.norm]);
  const finite = flowFinite ? map([flowFinite, energyFinite], E.mul) : energyFinite;
  const strict = scalarFeed(g, "strict");
  const small = map([ofEnergy.norm, scalarFeed(g, "ebm_threshold")], E.lt);
  const verdict = (own: Value, ...more: Value[]): Value =>
    map(
      [strict, finite, own, ...more],
      (s, all, self, ...rest: Expr[]) => rest.reduce((a, b) => E.mul(a, b), E.select(s!, all!, self!)),
    );
  const energyOk = verdict(energyFinite, scalarFeed(g, "ebm_on"), small);
  const flowOk = ofFlow && flowFinite
    ? verdict(
      flowFinite,
      scalarFeed(g, "flow_on"),
      small,
      map([ofFlow.norm, scalarFeed(g, "flow_threshold")], E.lt),
    )
    : undefined;
  if (start === "persistent") g.assign(CHAINS, select(energyFinite, revised, proposal));

  const specs = [
    ...flow.params.specs,
    ...energy.params.specs,
    ...assignSteps(g, energy, energySteps, energyOk, energyOptimizer.average),
    ...(start === "persistent" ? [chainsSpec(shape)] : []),
    ...(ofFlow && flowOk ? applyUpdate(g, "flow", ofFlow, flowOk, flowOptimizer) : []),
    ...applyUpdate(g, "ebm", ofEnergy, energyOk, energyOptimizer),
  ];
  const report = {
    ...ofFlow?.report,
    f_proposal: fProposal,
    ...ofEnergy.report,
    change,
    ...(run.accepted ? { acceptance: scalar(mean(run.accepted)) } : {}),
    finite,
    ...(flowOk ? { flow_ok: flowOk } : {}),
    ebm_ok: energyOk,
  };
  for (const [name, value] of Object.entries(report)) g.fetch(name, value);
  if (config.images) {
    g.fetch("proposals", proposal);
    g.fetch("images", revised);
  }
  return { graph: g, specs };
}
