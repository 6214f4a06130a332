/** The last part of a learning iteration: whether its updates are made, and what they assign. */
import type { EnergyNetwork, StateStep } from "../../energy/config.ts";
import type { FlowNetwork } from "../../flow/flow_plus_plus.ts";
import { map, select, state } from "../../graph/build.ts";
import { E, type Expr } from "../../graph/expr.ts";
import type { Graph, Value } from "../../graph/graph.ts";
import type { ParamSpec } from "../../nn/params.ts";
import { averageName } from "../../optim/adam.ts";
import { scalarFeed } from "./program.ts";
import { allFinite, applyUpdate, type FlowOptimizerConfig, type OptimizerConfig, type Update } from "./updates.ts";

/** What is to be committed. */
export interface Commit {
  readonly flow: FlowNetwork;
  readonly energy: EnergyNetwork;
  readonly energySteps: readonly StateStep[];
  /** Root mean square of what the chain changed. */
  readonly change: Value;
  /** Reports `flow_nll`; absent: the EBM learns alone. */
  readonly ofFlow: Update | undefined;
  /** Reports `f_revised` and `f_data`. */
  readonly ofEnergy: Update;
  readonly flowOptimizer: FlowOptimizerConfig;
  readonly energyOptimizer: OptimizerConfig;
}

/** What came of it. */
export interface Committed {
  /** `finite` (, `flow_ok`), `ebm_ok`. */
  readonly verdicts: Readonly<Record<string, Value>>;
  /** Whether all that the EBM's update uses is finite. */
  readonly energyFinite: Value;
  /** States of the networks and optimizers. */
  readonly specs: readonly ParamSpec[];
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
 * Both updates, each skipped (every state keeps its bits) when its model is off, a value that it uses is not finite, its norm (for the flow also the
 * EBM's) is not below its threshold, or `strict` is 1 and anything at all is not finite. Feeds: `strict`, and of each model `on`, `threshold` and those
 * of {@linkcode applyUpdate}.
 */
export function commit(g: Graph, parts: Commit): Committed {
  const { flow, energy, energySteps, change, ofFlow, ofEnergy, flowOptimizer, energyOptimizer } = parts;
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
  const specs = [
    ...flow.params.specs,
    ...energy.params.specs,
    ...assignSteps(g, energy, energySteps, energyOk, energyOptimizer.average),
    ...(ofFlow && flowOk ? applyUpdate(g, "flow", ofFlow, flowOk, flowOptimizer) : []),
    ...applyUpdate(g, "ebm", ofEnergy, energyOk, energyOptimizer),
  ];
  return { verdicts: { finite, ...(flowOk ? { flow_ok: flowOk } : {}), ebm_ok: energyOk }, energyFinite, specs };
}
