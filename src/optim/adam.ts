/** Adam (Kingma and Ba, 2015) with L2 decay, moving averages of the result and a gate, one expression per state so that each parameter is one kernel. */
import { mapExpr, mul, state } from "../graph/build.ts";
import { E, type Expr, input } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { AVERAGE_PREFIX, type Param, type ParamSpec } from "../nn/params.ts";
import { filled } from "../nn/initializers.ts";

/** Settings that are compiled in. */
export interface AdamOptions {
  readonly beta1: number;
  readonly beta2: number;
  /** Added to √v̂; PyTorch's default 1e-8. */
  readonly epsilon: number;
  /** Each element of the gradient is limited to ± this, after `factor` and before L2. Default: not. */
  readonly clipValue?: number;
  /** AdamW (Loshchilov and Hutter, 2019): p ← p − lr·decay·p beside the step, instead of through the gradient. Default 0. */
  readonly decoupledDecay?: number;
}

/** What the host feeds, as it keeps the number of steps. Scalars. */
export interface AdamScalars {
  /** Learning rate × schedule factor. */
  readonly lr: Value;
  /** 1/(1 − β1^t), t = 1 for the first step. */
  readonly c1: Value;
  /** 1/(1 − β2^t). */
  readonly c2: Value;
}

/** One parameter's part in a step. */
export interface AdamParam {
  readonly param: Param;
  readonly gradient: Value;
  /** The gradient is multiplied by it (clipping). */
  readonly factor?: Value;
  /** Coefficient of the L2 term, which is added to the clipped gradient. */
  readonly weightDecay?: number;
}

/** The rest of a step. */
export interface AdamStep {
  readonly options: AdamOptions;
  readonly scalars: AdamScalars;
  /** 1: take the step. 0: every state keeps its bits. */
  readonly ok: Value;
  /** Decay d of the moving average p̄ ← d·p̄ + (1 − d)·p; absent: none is kept. */
  readonly averageDecay?: Value;
}

/** Name of a moment's state. */
export function momentName(which: "m" | "v", parameter: string): string {
  return `adam.${which}.${parameter}`;
}

/** Name of the averaged copy of a parameter. */
export function averageName(parameter: string): string {
  return `${AVERAGE_PREFIX}${parameter}`;
}

/** The host's factors of step t = 1, 2, …: what {@linkcode AdamScalars} c1 and c2 are fed. */
export function biasCorrections(options: AdamOptions, step: number): { c1: number; c2: number } {
  return { c1: 1 / (1 - options.beta1 ** step), c2: 1 / (1 - options.beta2 ** step) };
}

/**
 * Assigns to each parameter, its moments (and its average) their next values:
 * g ← clip(factor·g) + decay·p; m ← β1·m + (1 − β1)·g; v ← β2·v + (1 − β2)·g²; p ← p − lr·decoupled·p − lr·c1·m/(√(c2·v) + ε).
 * Returns the specs of the states beside the parameters, in the parameters' order.
 */
export function adamStep(parts: readonly AdamParam[], step: AdamStep): ParamSpec[] {
  const rate = parts.length > 0 ? mul(step.scalars.lr, step.scalars.c1) : step.scalars.lr;
  return parts.flatMap((part) => assignOne(part, step, rate));
}

function assignOne(part: AdamParam, step: AdamStep, rate: Value): ParamSpec[] {
  const { param: { spec, value: p }, gradient, factor, weightDecay = 0 } = part;
  const { options: { beta1, beta2, epsilon, clipValue, decoupledDecay = 0 }, ok, averageDecay } = step;
  const g = p.graph;
  const specs: ParamSpec[] = [];
  const own = (name: string, kind: "moment" | "average", init: ParamSpec["init"]): Value => {
    specs.push({ name, shape: spec.shape, kind, trainable: false, init });
    return state(g, name, spec.shape);
  };
  const zeros = (): Float32Array => filled(spec.shape, 0)(0, "");
  const operands: Value[] = [];
  const take = (v: Value): Expr => input(operands.push(v) - 1);
  const oldP = take(p);
  const oldM = take(own(momentName("m", spec.name), "moment", zeros));
  const oldV = take(own(momentName("v", spec.name), "moment", zeros));
  const raw = take(gradient);
  const gate = take(ok);
  const scaled = factor ? E.mul(raw, take(factor)) : raw;
  const clipped = clipValue === undefined ? scaled : E.clamp(scaled, -clipValue, clipValue);
  const slope = weightDecay === 0 ? clipped : E.add(clipped, E.mul(oldP, weightDecay));
  const m = E.add(E.mul(oldM, beta1), E.mul(slope, 1 - beta1));
  const v = E.add(E.mul(oldV, beta2), E.mul(E.square(slope), 1 - beta2));
  const move = E.div(E.mul(take(rate), m), E.add(E.sqrt(E.mul(v, take(step.scalars.c2))), epsilon));
  const kept = decoupledDecay === 0 ? oldP : E.sub(oldP, E.mul(E.mul(take(step.scalars.lr), decoupledDecay), oldP));
  const next = E.sub(kept, move);
  // All expressions read the same operands: four results of one pass over memory.
  const assign = (name: string, value: Expr, old: Expr): void =>
    g.assign(name, mapExpr(g, operands, E.select(gate, value, old), spec.shape));
  assign(spec.name, next, oldP);
  assign(momentName("m", spec.name), m, oldM);
  assign(momentName("v", spec.name), v, oldV);
  if (averageDecay) {
    const name = averageName(spec.name);
    const old = take(own(name, "average", (seed) => spec.init(seed)));
    const d = take(averageDecay);
    assign(name, E.add(E.mul(old, d), E.mul(next, E.sub(1, d))), old);
  }
  return specs;
}
