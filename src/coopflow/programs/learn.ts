/** One learning iteration of CoopFlow (Xie et al. 2022, Algorithm 1) as one program. */
import { select } from "../../graph/build.ts";
import { Graph } from "../../graph/graph.ts";
import { commit } from "./commit.ts";
import { CHAINS, chainsSpec, imagesShape, type ModelProgram } from "./program.ts";
import { type LearnConfig, synthesise } from "./synthesis.ts";
import { ENERGY_OPTIMIZER, energyUpdate, FLOW_OPTIMIZER, flowUpdate } from "./updates.ts";

export type { LearnConfig } from "./synthesis.ts";

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
  const { flowOptimizer = FLOW_OPTIMIZER, energyOptimizer = ENERGY_OPTIMIZER } = config;
  const made = synthesise(g, config);
  const { flow, energy, energySteps, proposal, revised, before, ofChain } = made;
  const ofFlow = made.ofFlow && flowUpdate(flow, made.ofFlow(), flowOptimizer);
  const ofEnergy = energyUpdate(energy, made.ofEnergy(), config.batch);
  const { change } = ofChain;
  const { verdicts, energyFinite, specs } = commit(g, {
    flow,
    energy,
    energySteps,
    change,
    ofFlow,
    ofEnergy,
    flowOptimizer,
    energyOptimizer,
  });
  const isPersistent = config.start === "persistent";
  if (isPersistent) g.assign(CHAINS, select(energyFinite, revised, proposal));
  const report = { ...ofFlow?.report, ...before, ...ofEnergy.report, ...ofChain, ...verdicts };
  for (const [name, value] of Object.entries(report)) g.fetch(name, value);
  if (config.images) {
    g.fetch("proposals", proposal);
    g.fetch("images", revised);
  }
  return { graph: g, specs: [...specs, ...(isPersistent ? [chainsSpec(imagesShape(config, config.batch))] : [])] };
}
