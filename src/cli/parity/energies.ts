/** The energy network, and the Langevin chain on it. */
import { grad, hvp } from "../../autodiff/grad.ts";
import { feed, reshape, scalar, slice, sum, transpose } from "../../graph/build.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { langevin as chain, LANGEVIN_DEFAULTS, type LangevinOptions } from "../../energy/langevin.ts";
import { ENERGY_DEFAULTS, type EnergyKind, type EnergyNetwork } from "../../energy/config.ts";
import { createEnergy, SwishBlock } from "../../energy/network.ts";
import { SpectralBlock } from "../../energy/spectral.ts";
import { Params } from "../../nn/params.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { checkLayer, statesOf, toNchw, toNhwc } from "./layer.ts";
import { type Tolerance, TOLERANCES } from "./tolerances.ts";

/** The energy network of a file: sizes from `in.x` and `param.f.0.bias`. */
export function energyOf(params: Params, golden: Golden, kind: EnergyKind = "res"): EnergyNetwork {
  const [, channelsIn, height, width] = golden.tensor("in.x").shape as [number, number, number, number];
  return createEnergy(params, {
    ...ENERGY_DEFAULTS,
    kind,
    channelsIn,
    height,
    width,
    channels: golden.tensor("param.f.0.bias").shape[0]!,
  });
}

/** `energy_res`: energies, gradients, and a Hessian-vector product. */
export async function energyRes(golden: Golden, execute: Execute): Promise<Check[]> {
  const first = await checkLayer(
    golden,
    execute,
    (params, input) => ({ f: energyOf(params, golden).forward(toNhwc(input("x"))) }),
  );
  const g = new Graph();
  const energy = energyOf(new Params(g, ""), golden);
  const x = golden.tensor("in.x");
  const at = toNhwc(feed(g, "x", x.shape));
  const f = scalar(sum(energy.forward(at)));
  g.fetch("grad_x.ones", toNchw(grad(f, [at])[0]!));
  g.fetch("hvp.out", toNchw(hvp(f, at, toNhwc(feed(g, "v", x.shape)))));
  const run = await execute(g, { x: x.data, v: golden.tensor("hvp.v").data }, statesOf(golden));
  const second = ["grad_x.ones", "hvp.out"].map((name): Check => ({
    name,
    found: fetched(run, name),
    expected: golden.tensor(name).data,
    tolerance: TOLERANCES.gradient,
  }));
  return [...first, ...second];
}

/** `energy_plain`: energies and gradients of the strided network. */
export function energyPlain(golden: Golden, execute: Execute): Promise<Check[]> {
  return checkLayer(
    golden,
    execute,
    (params, input) => ({ f: energyOf(params, golden, "plain").forward(toNhwc(input("x"))) }),
  );
}

/** `energy_deep_block`. */
export function energyDeepBlock(golden: Golden, execute: Execute): Promise<Check[]> {
  const [channelsIn, channelsOut] = [golden.number("channels_in"), golden.number("channels_out")];
  return checkLayer(
    golden,
    execute,
    (params, input) => ({ out: toNchw(new SwishBlock(params, channelsIn, channelsOut).forward(toNhwc(input("x")))) }),
  );
}

/** `energy_sn_block`: the first pass moves u and v; outputs and gradients are those of a later pass that does not. */
export async function energySnBlock(golden: Golden, execute: Execute): Promise<Check[]> {
  const block = (params: Params): SpectralBlock =>
    new SpectralBlock(params, golden.number("channels_in"), golden.number("channels_out"), { redraw: false });
  const later = await checkLayer(
    golden,
    execute,
    (params, input) => ({ out: toNchw(block(params).forward(toNhwc(input("x")))) }),
  );
  const g = new Graph();
  const layer = block(new Params(g, ""));
  const { shape, data } = golden.tensor("in.x");
  for (const { name, next } of layer.step()) g.assign(name, next);
  g.fetch("first.out", toNchw(layer.forward(toNhwc(feed(g, "x", shape)))));
  const run = await execute(g, { x: data }, statesOf(golden, "before."));
  const vectors = golden.names("param.").filter((name) => /weight_[uv]$/.test(name));
  return [
    ...later,
    {
      name: "first.out",
      found: fetched(run, "first.out"),
      expected: golden.tensor("first.out").data,
      tolerance: TOLERANCES.output,
    },
    ...vectors.map((name): Check => ({
      name: `param.${name}`,
      found: run.assigns[name] ?? [],
      expected: golden.tensor(`param.${name}`).data,
      tolerance: TOLERANCES.output,
    })),
  ];
}

/** The steps at which the file holds images: `x10` and so on. */
function stepsOf(golden: Golden, prefix: string): number[] {
  return golden.names(prefix).flatMap((n) => (/^\d+$/.test(n) ? [Number(n)] : [])).sort((a, b) => a - b);
}

function chainTolerance(step: number): Tolerance {
  if (step <= 2) return TOLERANCES.chainStart;
  return step <= 10 ? TOLERANCES.chainMiddle : TOLERANCES.chainEnd;
}

/** `langevin`: a noise-free chain with both clamps, and one with given noise and without clamps. */
export async function langevin(golden: Golden, execute: Execute): Promise<Check[]> {
  const clamped = {
    stepSize: golden.number("step_clamped"),
    moveClamp: LANGEVIN_DEFAULTS.moveClamp,
    range: LANGEVIN_DEFAULTS.range,
  };
  return [
    ...await chainChecks(golden, execute, "x", clamped),
    ...await chainChecks(
      golden,
      execute,
      "noisy.x",
      { stepSize: golden.number("step_noisy") },
      golden.tensor("noise").data,
    ),
  ];
}

async function chainChecks(
  golden: Golden,
  execute: Execute,
  prefix: string,
  options: Omit<LangevinOptions, "steps">,
  noise?: Float32Array,
): Promise<Check[]> {
  const steps = stepsOf(golden, prefix);
  const count = steps.at(-1)!;
  const g = new Graph();
  const energy = energyOf(new Params(g, ""), golden);
  const { shape, data } = golden.tensor("in.x");
  const start = toNhwc(feed(g, "x", shape));
  const given = noise && transpose(feed(g, "noise", [count, ...shape]), [0, 1, 3, 4, 2]);
  const { x, trajectory } = chain(g, (v) => energy.forward(v), start, {
    ...options,
    steps: count,
    trajectory: true,
    ...(given ? { noise: given } : {}),
  });
  const image = (step: number): Value => (step === count ? x : reshape(slice(trajectory!, 0, step, step + 1), x.shape));
  for (const step of steps) g.fetch(`${prefix}${step}`, toNchw(image(step)));
  const run = await execute(g, { x: data, ...(noise ? { noise } : {}) }, statesOf(golden));
  return steps.map((step) => {
    const name = `${prefix}${step}`;
    return { name, found: fetched(run, name), expected: golden.tensor(name).data, tolerance: chainTolerance(step) };
  });
}
