/** The common shape of most cases: inputs and parameters in, outputs and gradients out. */
import { vjp } from "../../autodiff/grad.ts";
import { feed, reshape, transpose } from "../../graph/build.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { type Context, evaluation } from "../../nn/context.ts";
import { Params } from "../../nn/params.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched, type Tensors } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { type Tolerance, TOLERANCES, ZERO_GRADIENT } from "./tolerances.ts";

/** Evaluation mode: the files are made without dropout. */
export const CONTEXT: Context = evaluation();

/** [N,C,H,W] → [N,H,W,C]. */
export function toNhwc(x: Value): Value {
  return transpose(x, [0, 2, 3, 1]);
}

/** [N,H,W,C] → [N,C,H,W]. */
export function toNchw(x: Value): Value {
  return transpose(x, [0, 3, 1, 2]);
}

/** Builds a layer on inputs in the reference's layout; returns outputs in the reference's layout, by the names after `out.`. */
export type BuildLayer = (params: Params, input: (name: string) => Value) => Readonly<Record<string, Value>>;

/** The file's parameters as states. */
export function statesOf(golden: Golden, prefix = "param."): Tensors {
  return Object.fromEntries(golden.names(prefix).map((name) => [name, golden.tensor(prefix + name).data]));
}

/** Declares the tensors that begin with `prefix` as feeds of the same names, shaped like the file's, and returns their data too. */
export function feedsOf(
  g: Graph,
  golden: Golden,
  prefix: string,
): { values: Map<string, Value>; data: Record<string, Float32Array> } {
  const values = new Map<string, Value>();
  const data: Record<string, Float32Array> = {};
  for (const name of golden.names(prefix)) {
    const full = prefix + name;
    const tensor = golden.tensor(full);
    values.set(name, feed(g, full, tensor.shape));
    data[full] = tensor.data;
  }
  return { values, data };
}

/** The named one of some values. */
export function pick(values: ReadonlyMap<string, Value>, prefix: string): (name: string) => Value {
  return (name) => {
    const value = values.get(name);
    if (!value) throw new Error(`expected a tensor "${prefix}${name}", found ${[...values.keys()].join(", ")}`);
    return value;
  };
}

function outputTolerance(name: string): Tolerance {
  if (name.endsWith("log_det")) return TOLERANCES.logDet;
  return name.endsWith("nll") ? TOLERANCES.loss : TOLERANCES.output;
}

/** Checks of all `grad.*` tensors of the file. */
export function gradientChecks(golden: Golden, find: (name: string) => ArrayLike<number>): Check[] {
  const names = golden.names("grad.").map((name) => `grad.${name}`);
  let largest = 0;
  for (const name of names) for (const v of golden.tensor(name).data) largest = Math.max(largest, Math.abs(v));
  return names.map((name) => ({
    name,
    found: find(name),
    expected: golden.tensor(name).data,
    tolerance: name.endsWith("rescale.weight_v") ? { absolute: ZERO_GRADIENT * largest } : TOLERANCES.gradient,
  }));
}

/** Runs a layer forwards and, if the file has cotangents, backwards; compares every `out.*` and `grad.*` tensor. */
export async function checkLayer(golden: Golden, execute: Execute, build: BuildLayer): Promise<Check[]> {
  const g = new Graph();
  const params = new Params(g, "");
  const inputs = feedsOf(g, golden, "in.");
  const cotangents = feedsOf(g, golden, "cot.");
  const outputs = build(params, pick(inputs.values, "in."));
  for (const [name, value] of Object.entries(outputs)) g.fetch(`out.${name}`, value);

  const gradients = golden.names("grad.");
  if (gradients.length > 0) {
    const seeds = [...cotangents.values].map(([name, c]) => {
      const value = outputs[name];
      if (!value) {
        throw new Error(`expected an output "${name}" for its cotangent, found ${Object.keys(outputs).join(", ")}`);
      }
      return { value, cotangent: reshape(c, value.shape) };
    });
    const states = new Map(params.all.map((p) => [p.spec.name, p.value]));
    const wrt = gradients.map((name) =>
      name.startsWith("in.")
        ? pick(inputs.values, "in.")(name.slice(3))
        : pick(states, "param.")(name.slice("param.".length))
    );
    vjp(seeds, wrt).forEach((value, i) => g.fetch(`grad.${gradients[i]}`, value));
  }
  const run = await execute(g, { ...inputs.data, ...cotangents.data }, statesOf(golden));
  return [
    ...golden.names("out.").map((name) => ({
      name: `out.${name}`,
      found: fetched(run, `out.${name}`),
      expected: golden.tensor(`out.${name}`).data,
      tolerance: outputTolerance(name),
    })),
    ...gradientChecks(golden, (name) => fetched(run, name)),
  ];
}
