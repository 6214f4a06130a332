/** Bijectors, and the whole flow. */
import { broadcast, feed, reshape } from "../../graph/build.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { ActNorm } from "../../flow/act_norm.ts";
import { AffineCoupling } from "../../flow/affine_coupling.ts";
import { FLOW_CELEBA64, type FlowConfig } from "../../flow/config.ts";
import type { Bijector, Pair } from "../../flow/bijector.ts";
import { VariationalDequantizer } from "../../flow/dequantize.ts";
import { couplingSteps, FlowPlusPlus, nll } from "../../flow/flow_plus_plus.ts";
import { InvConv } from "../../flow/inv_conv.ts";
import { MixtureCoupling } from "../../flow/mixture_coupling.ts";
import { Params } from "../../nn/params.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched } from "./execute.ts";
import { flowConfig } from "./configs.ts";
import type { Golden } from "./golden.ts";
import { checkLayer, CONTEXT, statesOf, toNchw, toNhwc } from "./layer.ts";
import { TOLERANCES } from "./tolerances.ts";

/** A log-determinant that is the same for every image, written out for each. */
function perImage(logDet: Value, images: number): Value {
  return broadcast(reshape(logDet, [logDet.shape[0]!]), [images]);
}

/** Names of the halves of a pair: in the file's inputs and inverses, and in its outputs. */
interface Halves {
  readonly x: readonly [first: string, second: string];
  readonly y: readonly [first: string, second?: string];
}

async function inverseChecks(
  golden: Golden,
  execute: Execute,
  make: (params: Params) => Bijector<Pair>,
  names: Halves,
): Promise<Check[]> {
  const g = new Graph();
  const [firstX, secondX] = names.x;
  const firstY = golden.tensor(`out.${names.y[0]}`);
  // A coupling leaves its second half as it is, so the files don't repeat it.
  const secondY = golden.tensor(names.y[1] === undefined ? `in.${secondX}` : `out.${names.y[1]}`);
  const y = { first: toNhwc(feed(g, "first", firstY.shape)), second: toNhwc(feed(g, "second", secondY.shape)) };
  const { x, logDet } = make(new Params(g, "")).inverse(CONTEXT, y);
  g.fetch("first", toNchw(x.first));
  g.fetch("second", toNchw(x.second));
  g.fetch("log_det", perImage(logDet, firstY.shape[0]!));
  const run = await execute(g, { first: firstY.data, second: secondY.data }, statesOf(golden));
  const file = golden.names("inverse.");
  const half = (fetch: string, name: string): Check[] => {
    const found = fetched(run, fetch);
    const tolerance = TOLERANCES.inverse;
    const original = { name: `in.${name} (inverse)`, found, expected: golden.tensor(`in.${name}`).data, tolerance };
    const theirs = ["x", name].filter((n) => file.includes(n) && (n !== "x" || fetch === "first"));
    return [
      original,
      ...theirs.map((n) => ({ name: `inverse.${n}`, found, expected: golden.tensor(`inverse.${n}`).data, tolerance })),
    ];
  };
  return [
    ...half("first", firstX),
    ...half("second", secondX),
    {
      name: "inverse.log_det",
      found: fetched(run, "log_det"),
      expected: golden.tensor("inverse.log_det").data,
      tolerance: TOLERANCES.logDet,
    },
  ];
}

async function bijector(
  golden: Golden,
  execute: Execute,
  make: (params: Params) => Bijector<Pair>,
  names: Halves,
): Promise<Check[]> {
  const forward = await checkLayer(golden, execute, (params, input) => {
    const [first, second] = names.x.map((name) => toNhwc(input(name))) as [Value, Value];
    const { y, logDet } = make(params).forward(CONTEXT, { first, second });
    return {
      [names.y[0]]: toNchw(y.first),
      ...(names.y[1] === undefined ? {} : { [names.y[1]]: toNchw(y.second) }),
      log_det: perImage(logDet, first.shape[0]!),
    };
  });
  return [...forward, ...await inverseChecks(golden, execute, make, names)];
}

/** `coupling`. */
export function coupling(golden: Golden, execute: Execute): Promise<Check[]> {
  const [components, channels, blocks] = ["components", "channels", "blocks"].map((k) => golden.number(k)) as [
    number,
    number,
    number,
  ];
  const half = golden.tensor("in.change").shape[1]!;
  const make = (params: Params): Bijector<Pair> =>
    new MixtureCoupling(params, half, { channels, blocks, components, dropout: 0, attention: true });
  return bijector(golden, execute, make, { x: ["change", "id"], y: ["y"] });
}

/** `coupling_affine`, `coupling_additive`. */
export function simpleCoupling(kind: "affine" | "additive"): (golden: Golden, execute: Execute) => Promise<Check[]> {
  return (golden, execute) => {
    const [channels, blocks] = [golden.number("channels"), golden.number("blocks")];
    const half = golden.tensor("in.change").shape[1]!;
    const options = { channels, blocks, components: 0, dropout: 0, attention: false };
    const make = (params: Params): Bijector<Pair> => new AffineCoupling(params, half, kind, options);
    return bijector(golden, execute, make, { x: ["change", "id"], y: ["y"] });
  };
}

/** `invertible_conv`. */
export function invertibleConv(golden: Golden, execute: Execute): Promise<Check[]> {
  const half = golden.tensor("in.x1").shape[1]!;
  return bijector(golden, execute, (params) => new InvConv(params, half), { x: ["x1", "x2"], y: ["y1", "y2"] });
}

/** `actnorm_init`: the data-dependent start and what it stores. */
export async function actNormInit(golden: Golden, execute: Execute): Promise<Check[]> {
  const g = new Graph();
  const [x1, x2] = [golden.tensor("in.x1"), golden.tensor("in.x2")];
  const params = new Params(g, "");
  const norm = new ActNorm(params, x1.shape[1]!);
  const pair = { first: toNhwc(feed(g, "x1", x1.shape)), second: toNhwc(feed(g, "x2", x2.shape)) };
  const { y, logDet } = norm.forward({ ...CONTEXT, mode: "initialise" }, pair);
  g.fetch("out.y1", toNchw(y.first));
  g.fetch("out.y2", toNchw(y.second));
  g.fetch("out.log_det", perImage(logDet, x1.shape[0]!));
  const states = Object.fromEntries(params.specs.map((s) => [s.name, s.init(0)]));
  const run = await execute(g, { x1: x1.data, x2: x2.data }, states);
  const stored = golden.names("param.").map((name): Check => {
    const found = run.assigns[name] ?? [];
    return {
      name: `param.${name}`,
      found,
      expected: golden.tensor(`param.${name}`).data,
      tolerance: TOLERANCES.output,
    };
  });
  const outputs = golden.names("out.").map((name): Check => ({
    name: `out.${name}`,
    found: fetched(run, `out.${name}`),
    expected: golden.tensor(`out.${name}`).data,
    tolerance: name === "log_det" ? TOLERANCES.logDet : TOLERANCES.output,
  }));
  return [...stored, ...outputs];
}

/** `dequantizer`: variational, of x in [0, 1]. */
export function dequantizer(golden: Golden, execute: Execute): Promise<Check[]> {
  const [channels, blocks, components, auxChannels] = ["channels", "blocks", "components", "aux_channels"]
    .map((k) => golden.number(k)) as [number, number, number, number];
  const channelsIn = golden.tensor("in.x").shape[1]!;
  return checkLayer(golden, execute, (params, input) => {
    const flow = (scope: Params): Bijector<Pair> =>
      couplingSteps(scope, 4, channelsIn, {
        channels,
        blocks,
        components,
        auxChannels,
        dropout: 0,
        attention: true,
        invConv: true,
      });
    const layer = new VariationalDequantizer(params, { channelsIn, levels: 256, dropout: 0, flow });
    const { x, logDet } = layer.dequantize(CONTEXT, toNhwc(input("x")), toNhwc(input("eps")));
    return { y: toNchw(x), log_det: logDet };
  });
}

/** `flow`: density, gradients, and sampling from a given z. */
export function flow(golden: Golden, execute: Execute): Promise<Check[]> {
  return flowOf(golden, execute, flowConfig((key) => golden.setting(key)));
}

/** `flow_celeba`: the 64×64 recipe's variant of it, run backwards from its own z. */
export function flowCeleba(golden: Golden, execute: Execute): Promise<Check[]> {
  const { invConv, dequantAttention } = FLOW_CELEBA64;
  return flowOf(golden, execute, { ...flowConfig((key) => golden.setting(key)), invConv, dequantAttention });
}

/** From which z the file's flow was run backwards, and what came out. */
const BACKWARDS = [
  { z: "sample.z", logits: "sample.logits", x: "sample.x" },
  { z: "out.z", logits: "inverse_of_z.logits", x: undefined },
] as const;

async function flowOf(golden: Golden, execute: Execute, config: FlowConfig): Promise<Check[]> {
  const density = await checkLayer(golden, execute, (params, input) => {
    const { z, logDet } = new FlowPlusPlus(params, config).density(CONTEXT, toNhwc(input("x")), toNhwc(input("eps")));
    return { z: toNchw(z), log_det: logDet, nll: reshape(nll(z, logDet, config.levels), [1]) };
  });
  const g = new Graph();
  const names = BACKWARDS.find(({ logits }) => golden.has(logits)) ?? BACKWARDS[0];
  const start = golden.tensor(names.z);
  const sample = new FlowPlusPlus(new Params(g, ""), config).sample(CONTEXT, toNhwc(feed(g, "z", start.shape)));
  g.fetch("logits", toNchw(sample.logits));
  g.fetch("x", toNchw(sample.x));
  const run = await execute(g, { z: start.data }, statesOf(golden));
  const check = (fetch: "logits" | "x", name: string, tolerance: Check["tolerance"]): Check => ({
    name,
    found: fetched(run, fetch),
    expected: golden.tensor(name).data,
    tolerance,
  });
  return [
    ...density,
    check("logits", names.logits, TOLERANCES.sampleLogits),
    ...(names.x === undefined ? [] : [check("x", names.x, TOLERANCES.sampleImages)]),
  ];
}
