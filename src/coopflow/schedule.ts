/** What changes from one learning iteration to the next, computed by the host in float64 and fed as scalars. */
import { biasCorrections } from "../optim/adam.ts";
import { averageDecay, cosineDecay, linearDecay, stepDecay, warmUp } from "../optim/schedules.ts";
import type { CoopFlowConfig } from "./config.ts";

/** Where a model stands. */
export interface Counters {
  /** Learning iterations that are complete. */
  readonly iteration: number;
  /** Updates that the flow has made: skipped ones do not count. */
  readonly flowUpdates: number;
  /** Updates that the EBM has made. */
  readonly ebmUpdates: number;
  /** Whether the flow's activation norms have been initialised from data. */
  readonly initialised: boolean;
}

/** A fresh model's. */
export const FRESH: Counters = { iteration: 0, flowUpdates: 0, ebmUpdates: 0, initialised: false };

/** What the configuration says of either optimizer. */
export type OptimizerSettings = Omit<CoopFlowConfig["training"]["ebm"], "magnitude">;

/** Learning rate of update `i` (from 0) of `total`. */
export function learningRate(optimizer: OptimizerSettings, i: number, total: number): number {
  const { lr, warmUp: updates, decayLast } = optimizer;
  // A run that goes on beyond its end without decay would otherwise see a negative remainder.
  const decay = total > 0 ? linearDecay(i, total, decayLast) : 1;
  return lr * warmUp(i, updates) * scheduled(optimizer, i, total) * decay;
}

function scheduled({ schedule, stepEvery, stepFactor }: OptimizerSettings, i: number, total: number): number {
  if (schedule === "step") return stepDecay(i, stepEvery, stepFactor);
  return schedule === "cosine" && total > 0 ? cosineDecay(i, total) : 1;
}

/** A learning iteration's program: that of the phase, or of phase coop the EBM's part alone. */
export type LearnKind = "learn" | "learn-ebm";

/** Which of them iteration `i` (from 0) runs. */
export function learnKind({ training: { phase, flowFrom, flowEvery } }: CoopFlowConfig, i: number): LearnKind {
  return phase !== "coop" || (i >= flowFrom && (i - flowFrom) % flowEvery === 0) ? "learn" : "learn-ebm";
}

/** Iterations in which the flow learns: what its learning rate falls over. */
function flowIterations({ phase, flowFrom, flowEvery, iterations }: Scheduled["training"]): number {
  return phase === "coop" ? Math.max(0, Math.ceil((iterations - flowFrom) / flowEvery)) : iterations;
}

function numberOf(value: number | "off"): number {
  return value === "off" ? Infinity : value;
}

function ofNetwork(
  name: "flow" | "ebm",
  optimizer: OptimizerSettings,
  average: number | "off",
  updates: number,
  total: number,
): Record<string, number> {
  const [beta1, beta2] = optimizer.betas;
  const { c1, c2 } = biasCorrections({ beta1, beta2, epsilon: optimizer.eps }, updates + 1);
  return {
    [`${name}_on`]: 1,
    [`${name}_lr`]: learningRate(optimizer, updates, total),
    [`${name}_c1`]: c1,
    [`${name}_c2`]: c2,
    [`${name}_clip`]: numberOf(optimizer.clip),
    [`${name}_threshold`]: numberOf(optimizer.threshold),
    ...(average === "off" ? {} : { [`${name}_decay`]: averageDecay(updates, average) }),
  };
}

/** The part of a configuration that the scalars of an iteration depend on. */
export interface Scheduled {
  readonly training: Pick<
    CoopFlowConfig["training"],
    "phase" | "flowFrom" | "flowEvery" | "flow" | "ebm" | "averaging" | "iterations" | "stopOnNaN" | "thresholdFrom"
  >;
}

/** The scalar feeds of the next iteration, all but the step size, which a schedule makes several of. */
export function learnScalars(config: Scheduled, counters: Counters): Record<string, number> {
  const { training } = config;
  const { flow, ebm, averaging, iterations } = training;
  return {
    strict: training.stopOnNaN ? 1 : 0,
    ...ofNetwork("flow", flow, averaging.flow, counters.flowUpdates, flowIterations(training)),
    ...ofNetwork("ebm", ebm, averaging.ebm, counters.ebmUpdates, iterations),
    ...(counters.iteration < training.thresholdFrom ? { ebm_threshold: Infinity } : {}),
  };
}
