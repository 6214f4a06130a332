/** `mixture_smooth`, `mixture_sharp`: the fused mixture operation, seen through log-cdf and log-pdf. */
import { grad } from "../../autodiff/grad.ts";
import { add, concat, feed, fill, map, mul, reshape, sum } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched, type Tensors } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { TOLERANCES } from "./tolerances.ts";

/** Where the inverse stops following y: the reference solves for probabilities in [1e-5, 1 − 1e-5] only. */
const HIGHEST_LOGIT = Math.log((1 - 1e-5) / 1e-5);

/** [images, K, rest] → [images · rest, K], and back. */
function componentsLast(data: Float32Array, images: number, components: number): Float32Array {
  const rest = data.length / images / components;
  return data.map((_, at) => {
    const element = Math.floor(at / components);
    const [n, r] = [Math.floor(element / rest), element % rest];
    return data[(n * components + at % components) * rest + r]!;
  });
}

/**
 * Every element is an image of one pixel, so that the log-determinants come out one by one; with a = b = 0 the coupling gives y = log F − log(1 − F) and
 * log F′ − log F − log(1 − F).
 */
function coupling(
  g: Graph,
  op: "mixture" | "mixture_inverse",
  x: Value,
  groups: readonly Value[],
  components: number,
): [Value, Value] {
  const n = x.shape[0]!;
  const p = reshape(concat([fill(g, 0, [n, 2]), ...groups], 1), [n, 1, 2 + 3 * components]);
  const [y, logDet] = g.add(op, { components }, [reshape(x, [n, 1, 1]), p, fill(g, 1, [1])]);
  return [reshape(y!, [n]), logDet!];
}

/** Compares log-cdf, log-pdf and their gradients; then inverts. */
export async function mixture(golden: Golden, execute: Execute): Promise<Check[]> {
  const components = golden.number("components");
  const x = golden.tensor("in.x").data;
  const images = golden.tensor("in.x").shape[0]!;
  const names = ["pi", "mu", "s"] as const;
  const turn = (name: string): Float32Array => componentsLast(golden.tensor(name).data, images, components);
  const data: Record<string, Float32Array> = {
    x,
    cdf: golden.tensor("cot.log_cdf").data,
    pdf: golden.tensor("cot.log_pdf").data,
    ...Object.fromEntries(names.map((name) => [name, turn(`in.${name}`)])),
  };
  const g = new Graph();
  const vector = (name: string): Value => feed(g, name, [x.length]);
  const groups = names.map((name) => feed(g, name, [x.length, components]));
  const at = vector("x");
  const [y, logDet] = coupling(g, "mixture", at, groups, components);
  const logCdf = map([y], (v) => E.neg(E.softplus(E.neg(v))));
  const logPdf = map([y, logDet], (v, l) => E.sub(l, E.add(E.softplus(E.neg(v)), E.softplus(v))));
  const total = add(sum(mul(logCdf, vector("cdf"))), sum(mul(logPdf, vector("pdf"))));
  const [dx, dpi, dmu, ds] = grad(total, [at, ...groups]);
  const results = { y, log_cdf: logCdf, log_pdf: logPdf, x: dx!, pi: dpi!, mu: dmu!, s: ds! };
  for (const [name, value] of Object.entries(results)) g.fetch(name, value);
  const run = await execute(g, data, {});

  const check = (name: string, fetch: string, tolerance: Check["tolerance"]): Check => {
    const { data: expected } = golden.tensor(name);
    return {
      name,
      found: fetched(run, fetch),
      expected: expected.length === x.length ? expected : turn(name),
      tolerance,
    };
  };
  return [
    check("out.log_cdf", "log_cdf", TOLERANCES.output),
    check("out.log_pdf", "log_pdf", TOLERANCES.output),
    check("grad.in.x", "x", TOLERANCES.gradient),
    check("grad.in.mu", "mu", TOLERANCES.gradient),
    check("grad.in.s", "s", TOLERANCES.gradient),
    check("grad.in.pi", "pi", TOLERANCES.gradient),
    ...await inverseChecks(golden, execute, { data, y: fetched(run, "y"), components }),
  ];
}

interface Mapped {
  readonly data: Tensors;
  readonly y: ArrayLike<number>;
  readonly components: number;
}

/** Inverts y, and maps what comes out again. A smooth mixture must give x back; a sharp one must give y back. */
async function inverseChecks(golden: Golden, execute: Execute, { data, y, components }: Mapped): Promise<Check[]> {
  const n = y.length;
  const g = new Graph();
  const groups = ["pi", "mu", "s"].map((name) => feed(g, name, [n, components]));
  const [x] = coupling(g, "mixture_inverse", feed(g, "y", [n]), groups, components);
  const [again] = coupling(g, "mixture", x, groups, components);
  g.fetch("x", x);
  g.fetch("again", again);
  const run = await execute(g, { pi: data.pi!, mu: data.mu!, s: data.s!, y }, {});
  const clamped = Float64Array.from(y, (v) => Math.min(Math.max(v, -HIGHEST_LOGIT), HIGHEST_LOGIT));
  const checks: Check[] = [
    {
      name: "y of the inverse",
      found: fetched(run, "again"),
      expected: clamped,
      tolerance: TOLERANCES.inverseResidual,
    },
  ];
  if (!golden.name.startsWith("mixture_smooth")) return checks;
  // Where y was clamped there is nothing to give back.
  const inside = Array.from(clamped.keys()).filter((i) => clamped[i] === y[i]);
  const at = (values: ArrayLike<number>): Float64Array => Float64Array.from(inside, (i) => values[i]!);
  return [...checks, {
    name: "in.x (inverse)",
    found: at(fetched(run, "x")),
    expected: at(data.x!),
    tolerance: TOLERANCES.inverse,
  }];
}
