/** `paper`: the paper-size networks, their weights from a formula. */
import { grad } from "../../autodiff/grad.ts";
import { DataError } from "../../errors.ts";
import { feed, map, mean, reshape, scalar, sum, sumSquares } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { numel, type Shape } from "../../graph/shape.ts";
import { ENERGY_DEFAULTS } from "../../energy/config.ts";
import { createEnergy } from "../../energy/network.ts";
import { FLOW_DEFAULTS } from "../../flow/config.ts";
import { DEQUANTIZER, VariationalDequantizer } from "../../flow/dequantize.ts";
import { couplingSteps, FlowPlusPlus, nll } from "../../flow/flow_plus_plus.ts";
import { Logit } from "../../flow/logit.ts";
import { type Param, Params } from "../../nn/params.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { CONTEXT, toNchw, toNhwc } from "./layer.ts";
import { TOLERANCES, ZERO_NORM } from "./tolerances.ts";

/** Tensor numbers of the images and of the dequantization noise. */
const IMAGES = 1001;
const NOISE = 1002;

/** Element i of tensor number p: a 32-bit hash of both, as a number in [−½, ½). */
export function formula(n: number, tensor: number, salt: number): Float64Array {
  const out = new Float64Array(n);
  const first = (Math.imul(tensor, 40503) + salt) | 0;
  for (let i = 0; i < n; i++) {
    let h = (Math.imul(i, 2654435761 | 0) + first) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    h ^= h >>> 16;
    out[i] = (h >>> 0) / 2 ** 32 - 0.5;
  }
  return out;
}

/** The value of a parameter, from its name and shape. */
export function paperParameter(name: string, shape: Shape, position: number, salt: number): Float32Array {
  const u = formula(numel(shape), position, salt);
  // A loop, as Float32Array.from with a function takes ten times as long, and there are 46 million values.
  const scale = (base: number, factor: number): Float32Array => {
    const out = new Float32Array(u.length);
    for (let i = 0; i < out.length; i++) out[i] = base + factor * u[i]!;
    return out;
  };
  const last = name.slice(name.lastIndexOf(".") + 1);
  if (last === "weight_v") return scale(0, 0.1);
  if (last === "weight_g" || last === "inv_std" || /\.norm_\d+\.weight$/.test(name)) return scale(1, 0.2);
  if (last === "bias" || last === "mean") return scale(0, 0.2);
  if (shape.length === 2) return scale(0, 0.2).map((v, i) => (i % (shape[0]! + 1) === 0 ? 1 + 0.2 * u[i]! : v));
  return scale(0, 4 / Math.sqrt(numel(shape.slice(1))));
}

/** The network's parameters in sorted order, and all its states. */
function statesOf(
  params: Params,
  names: unknown,
  salt: number,
): { sorted: Param[]; states: Record<string, Float32Array> } {
  const sorted = [...params.trainable].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  if (JSON.stringify(sorted.map((p) => p.spec.name)) !== JSON.stringify(names)) {
    throw new DataError(`expected the parameters' names to be the file's, found ${sorted.length} others`);
  }
  // Of the buffers only: drawing millions of first values that the formula then replaces would take longer than the case.
  const buffers = params.specs.filter((s) => !s.trainable);
  const states = Object.fromEntries(buffers.map((s) => [s.name, s.init(0)]));
  sorted.forEach(({ spec }, i) => {
    states[spec.name] = paperParameter(spec.name, spec.shape, i, salt);
  });
  for (const name of Object.keys(states)) if (name.endsWith("is_initialized")) states[name] = Float32Array.of(1);
  return { sorted, states };
}

/** Fetches the L2 norm of each parameter's gradient. */
function fetchNorms(g: Graph, y: Value, sorted: readonly Param[]): void {
  const grads = grad(y, sorted.map((p) => p.value));
  grads.forEach((d, i) => g.fetch(`norm ${i}`, reshape(map([sumSquares(d)], E.sqrt), [1])));
}

function normChecks(
  golden: Golden,
  prefix: string,
  sorted: readonly Param[],
  find: (name: string) => ArrayLike<number>,
): Check[] {
  const expected = golden.tensor(`${prefix}.grad_norms`).data;
  const zero = ZERO_NORM * expected.reduce((a, b) => Math.max(a, b), 0);
  return sorted.map(({ spec }, i) => ({
    name: `${prefix}.grad_norms (${spec.name})`,
    found: find(`norm ${i}`),
    expected: expected.subarray(i, i + 1),
    tolerance: expected[i]! < zero ? { absolute: zero } : TOLERANCES.paperNorm,
  }));
}

/** Images of grey levels, and noise, in the reference's layout. */
function inputs(shape: Shape, salt: number): { x: Float32Array; eps: Float32Array } {
  const n = numel(shape);
  // In float32, step by step, as the file's were made.
  const grey = (u: number): number => Math.fround(Math.fround(Math.fround(Math.floor((u + 0.5) * 256)) / 255 * 2) - 1);
  return {
    x: Float32Array.from(formula(n, IMAGES, salt), grey),
    eps: Float32Array.from(formula(n, NOISE, salt), (u) => 3 * u),
  };
}

/** Density and gradients, sampling, energies and gradients. */
export async function paper(golden: Golden, execute: Execute): Promise<Check[]> {
  const salt = golden.number("salt");
  const { shape } = golden.tensor("z");
  const { x, eps } = inputs(shape, salt);
  const ofDensity = await density(golden, execute, { shape, x, eps, salt });
  return [
    ...ofDensity.checks,
    ...await inverse(golden, execute, { shape, salt, logits: ofDensity.logits }),
    ...await energy(golden, execute, { shape, x, salt }),
  ];
}

interface Images {
  readonly shape: Shape;
  readonly x: Float32Array;
  readonly salt: number;
}

async function density(
  golden: Golden,
  execute: Execute,
  { shape, x, eps, salt }: Images & { eps: Float32Array },
): Promise<{ checks: Check[]; logits: ArrayLike<number> }> {
  const g = new Graph();
  const params = new Params(g, "");
  const flow = new FlowPlusPlus(params, FLOW_DEFAULTS);
  const [images, noise] = [toNhwc(feed(g, "x", shape)), toNhwc(feed(g, "eps", shape))];
  const { z, logDet } = flow.density(CONTEXT, images, noise);
  const loss = nll(z, logDet, FLOW_DEFAULTS.levels);
  const { sorted, states } = statesOf(params, golden.setting("flow_names"), salt);
  g.fetch("z", toNchw(z));
  g.fetch("logits", toNchw(dequantizedLogits(params, images, noise)));
  g.fetch("log_det", logDet);
  g.fetch("nll", reshape(loss, [1]));
  fetchNorms(g, loss, sorted);
  const run = await execute(g, { x, eps }, states);
  const checks = ([["z", TOLERANCES.paperZ], ["log_det", TOLERANCES.paperLogDet], ["nll", TOLERANCES.loss]] as const)
    .map(([name, tolerance]): Check => ({
      name,
      found: fetched(run, name),
      expected: golden.tensor(name).data,
      tolerance,
    }));
  const norms = normChecks(golden, "flow", sorted, (name) => fetched(run, name));
  return { checks: [...checks, ...norms], logits: fetched(run, "logits") };
}

/** What the flow's scales are given: the dequantizer on the flow's own states, which the graph shares with the flow's. */
function dequantizedLogits(params: Params, x: Value, noise: Value): Value {
  const { channelsIn, channels, dequantBlocks: blocks, levels } = FLOW_DEFAULTS;
  const { steps, components, auxChannels } = DEQUANTIZER;
  const options = { channels, blocks, components, auxChannels, dropout: 0, attention: true, invConv: true };
  const dequantizer = new VariationalDequantizer(params.scope("dequant_flows"), {
    channelsIn,
    levels,
    dropout: 0,
    flow: (scope) => couplingSteps(scope, steps, channelsIn, options),
  });
  const unit = map([x], (a) => E.mul(E.add(a, 1), 0.5));
  return new Logit().forward(CONTEXT, dequantizer.dequantize(CONTEXT, unit, noise).x).y;
}

interface Latent {
  readonly shape: Shape;
  readonly salt: number;
  /** Where the flow, run backwards from z, should arrive. */
  readonly logits: ArrayLike<number>;
}

async function inverse(golden: Golden, execute: Execute, { shape, salt, logits }: Latent): Promise<Check[]> {
  const g = new Graph();
  const params = new Params(g, "");
  const flow = new FlowPlusPlus(params, FLOW_DEFAULTS);
  const { states } = statesOf(params, golden.setting("flow_names"), salt);
  g.fetch("logits", toNchw(flow.sample(CONTEXT, toNhwc(feed(g, "z", shape))).logits));
  const run = await execute(g, { z: golden.tensor("z").data }, states);
  const name = "inverse_of_z.logits";
  const found = fetched(run, "logits");
  const tolerance = TOLERANCES.paperInverse;
  return [
    { name, found, expected: golden.tensor(name).data, tolerance },
    { name: `${name} (of the images)`, found, expected: logits, tolerance },
  ];
}

async function energy(golden: Golden, execute: Execute, { shape, x, salt }: Images): Promise<Check[]> {
  const g = new Graph();
  const params = new Params(g, "");
  const network = createEnergy(params, ENERGY_DEFAULTS);
  const at = feed(g, "x", shape);
  const f = network.forward(toNhwc(at));
  const { sorted, states } = statesOf(params, golden.setting("energy_names"), salt);
  g.fetch("energy", f);
  g.fetch("energy.grad_x", grad(scalar(sum(f)), [at])[0]!);
  fetchNorms(g, scalar(mean(f)), sorted);
  const run = await execute(g, { x }, states);
  return [
    {
      name: "energy",
      found: fetched(run, "energy"),
      expected: golden.tensor("energy").data,
      tolerance: TOLERANCES.paperEnergy,
    },
    {
      name: "energy.grad_x",
      found: fetched(run, "energy.grad_x"),
      expected: golden.tensor("energy.grad_x").data,
      tolerance: TOLERANCES.paperSlope,
    },
    ...normChecks(golden, "energy", sorted, (name) => fetched(run, name)),
  ];
}
