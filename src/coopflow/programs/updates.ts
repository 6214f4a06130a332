/** The two updates of a learning iteration: losses, gradients, norms and Adam steps. */
import { grad } from "../../autodiff/grad.ts";
import type { EnergyNetwork } from "../../energy/config.ts";
import { type FlowNetwork, nll } from "../../flow/flow_plus_plus.ts";
import { add, concat, map, mul, scalar, slice, sub, sum, sumSquares } from "../../graph/build.ts";
import { E, type Expr } from "../../graph/expr.ts";
import type { Graph, Value } from "../../graph/graph.ts";
import type { Context } from "../../nn/context.ts";
import type { ParamSpec } from "../../nn/params.ts";
import { type AdamOptions, type AdamParam, adamStep } from "../../optim/adam.ts";
import { clipFactor, globalNorm } from "../../optim/clip.ts";
import { scalarFeed } from "./program.ts";

/** The compiled-in part of one model's optimizer. */
export interface OptimizerConfig extends AdamOptions {
  /** Keep moving averages of the parameters (states `ema.…`). */
  readonly average: boolean;
}

/** The flow's optimizer. */
export interface FlowOptimizerConfig extends OptimizerConfig {
  /** L2 coefficient of the weight-norm gains (`weight_g`), added after clipping. */
  readonly gainDecay: number;
  /** Clip the gains' gradients and the others' by a norm each, or all by one norm. */
  readonly clip: "groups" | "whole";
}

/** The reference's optimizers. */
export const FLOW_OPTIMIZER: FlowOptimizerConfig = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  average: false,
  gainDecay: 5e-5,
  clip: "groups",
};
/** See {@linkcode FLOW_OPTIMIZER}. */
export const ENERGY_OPTIMIZER: OptimizerConfig = { beta1: 0.5, beta2: 0.5, epsilon: 1e-8, average: false };

/** A loss and its gradients, ready to be stepped along. */
export interface Update {
  /** Scalars worth reporting, by name. */
  readonly report: Readonly<Record<string, Value>>;
  /** Gradient norm before clipping. */
  readonly norm: Value;
  readonly parts: readonly AdamParam[];
}

/** A loss and its gradients as they are, before norms and clipping. */
export interface Gradients {
  /** Scalars worth reporting, by name. */
  readonly report: Readonly<Record<string, Value>>;
  /** In the order of the network's trainable parameters. */
  readonly of: readonly Value[];
}

/** Flow loss −mean log q(x), reported as `flow_nll`, and its gradients. */
export function flowGradients(flow: FlowNetwork, ctx: Context, x: Value, noise: Value | undefined): Gradients {
  const { z, logDet } = flow.density(ctx, x, noise);
  const loss = nll(z, logDet, flow.config.levels);
  return { report: { flow_nll: loss }, of: grad(loss, flow.params.trainable.map((p) => p.value)) };
}

/**
 * The flow's update by gradients that are the sum of `terms` of {@linkcode flowGradients}. Feed `flow_clip`. Reports `flow_norm`, `flow_norm_gains`,
 * `flow_norm_rest` beside what the gradients report.
 */
export function flowUpdate(
  flow: FlowNetwork,
  { report, of: gradients }: Gradients,
  optimizer: FlowOptimizerConfig,
  terms = 1,
): Update {
  const params = flow.params.trainable;
  const limit = scalarFeed(params[0]!.value.graph, "flow_clip");
  const isGain = params.map((p) => p.spec.kind === "gain");
  const gains = mul(globalNorm(gradients.filter((_, i) => isGain[i])), 1 / terms);
  const rest = mul(globalNorm(gradients.filter((_, i) => !isGain[i])), 1 / terms);
  const norm = map([gains, rest], (a, b) => E.sqrt(E.add(E.square(a), E.square(b))));
  const factors = optimizer.clip === "groups"
    ? [clipFactor(gains, limit), clipFactor(rest, limit)]
    : [clipFactor(norm, limit), clipFactor(norm, limit)];
  const [gainFactor, restFactor] = factors.map((factor) => mul(factor, 1 / terms));
  const parts = params.map((param, i) => ({
    param,
    gradient: gradients[i]!,
    factor: isGain[i] ? gainFactor! : restFactor!,
    weightDecay: isGain[i] ? optimizer.gainDecay : 0,
  }));
  return { report: { ...report, flow_norm: norm, flow_norm_gains: gains, flow_norm_rest: rest }, norm, parts };
}

/**
 * EBM loss mean f(revised) − mean f(data) + α·(mean f(revised)² + mean f(data)²); `revised` and `data` are of one shape [N,…]. The gradients are N times
 * the loss's. Reports `f_revised`, `f_data`, `ebm_loss` (without the last term) and with α the last term as `ebm_magnitude`.
 *
 * @param magnitude α: how much energies are held near 0 (Du and Mordatch: "Implicit generation and modeling with energy-based models", 2019)
 */
export function energyGradients(energy: EnergyNetwork, revised: Value, data: Value, magnitude = 0): Gradients {
  const n = revised.shape[0]!;
  const params = energy.params.trainable;
  // One pass over both batches: weights are transformed and streamed once, and no gradients need to be added up.
  const f = energy.forward(concat([revised, data], 0));
  const sums = [slice(f, 0, 0, n), slice(f, 0, n, 2 * n)].map((part) => scalar(sum(part)));
  const penalty = magnitude === 0 ? undefined : mul(scalar(sumSquares(f)), magnitude);
  // Of the sums, not the means: the gradient of a constant added to all energies is then a sum of ones and minus ones, which
  // cancels exactly whatever n is (Adam would blow up any rounding noise to whole steps).
  const difference = sub(sums[0]!, sums[1]!);
  const of = grad(penalty ? add(difference, penalty) : difference, params.map((p) => p.value));
  const [ofRevised, ofData] = sums.map((s) => mul(s, 1 / n));
  const report = {
    f_revised: ofRevised!,
    f_data: ofData!,
    ebm_loss: sub(ofRevised!, ofData!),
    ...(penalty ? { ebm_magnitude: mul(penalty, 1 / n) } : {}),
  };
  return { report, of };
}

/** The EBM's update by {@linkcode energyGradients} of `images` images in all. Feed `ebm_clip`. Reports `ebm_norm` beside what the gradients report. */
export function energyUpdate(energy: EnergyNetwork, { report, of: gradients }: Gradients, images: number): Update {
  const params = energy.params.trainable;
  const norm = mul(globalNorm(gradients), 1 / images);
  const factor = mul(clipFactor(norm, scalarFeed(norm.graph, "ebm_clip")), 1 / images);
  const parts = params.map((param, i) => ({ param, gradient: gradients[i]!, factor }));
  return { report: { ...report, ebm_norm: norm }, norm, parts };
}

/** Assigns the step of `update`; feeds `<name>_lr`, `<name>_c1`, `<name>_c2` (, `<name>_decay`). Returns the optimizer's specs. */
export function applyUpdate(
  g: Graph,
  name: "flow" | "ebm",
  update: Update,
  ok: Value,
  optimizer: OptimizerConfig,
): ParamSpec[] {
  const scalars = { lr: scalarFeed(g, `${name}_lr`), c1: scalarFeed(g, `${name}_c1`), c2: scalarFeed(g, `${name}_c2`) };
  const step = { options: optimizer, scalars, ok };
  return g.scoped(
    `adam.${name}`,
    () => adamStep(update.parts, optimizer.average ? { ...step, averageDecay: scalarFeed(g, `${name}_decay`) } : step),
  );
}

/** 1 if all scalars are finite, else 0. */
export function allFinite(values: readonly Value[]): Value {
  return map(values, (...x: Expr[]) => x.map(E.isFinite).reduce((a, b) => E.mul(a, b)));
}
