/** What the reference program does not have: Metropolis adjustment, the penalty on energies, accumulation. `tests/parity/make_goldens.py` makes the files. */
import { feed, mul, reshape, slice, transpose } from "../../graph/build.ts";
import { Graph } from "../../graph/graph.ts";
import { learnGradients, learnStep } from "../../coopflow/programs/accumulate.ts";
import { CHAINS } from "../../coopflow/programs/program.ts";
import type { LearnConfig } from "../../coopflow/programs/learn.ts";
import { ENERGY_OPTIMIZER, energyGradients, energyUpdate } from "../../coopflow/programs/updates.ts";
import { ENERGY_DEFAULTS } from "../../energy/config.ts";
import { langevin } from "../../energy/langevin.ts";
import { DataError } from "../../errors.ts";
import { FLOW_DEFAULTS } from "../../flow/config.ts";
import { Params } from "../../nn/params.ts";
import { biasCorrections } from "../../optim/adam.ts";
import type { Check } from "./compare.ts";
import { energyOf } from "./energies.ts";
import { type Execute, fetched, type Tensors } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { gradientChecks, statesOf, toNchw, toNhwc } from "./layer.ts";
import { nchwToNhwc } from "./learning.ts";
import { type Tolerance, TOLERANCES } from "./tolerances.ts";

function rangeOf(golden: Golden): readonly [number, number] {
  const range = golden.setting("range");
  if (Array.isArray(range) && range.length === 2 && range.every((v) => typeof v === "number")) {
    return range as [number, number];
  }
  throw new DataError(`metadata "range": expected [low, high], found ${JSON.stringify(range)}`);
}

/** `mala`: a chain with Metropolis adjustment, given noise and uniforms, a step size for each step, a clamped drift and a range. */
export async function mala(golden: Golden, execute: Execute): Promise<Check[]> {
  const g = new Graph();
  const energy = energyOf(new Params(g, ""), golden);
  const [x, noise, accept, sizes] = [
    golden.tensor("in.x"),
    golden.tensor("noise"),
    golden.tensor("accept"),
    golden.tensor("step_size"),
  ];
  const steps = sizes.shape[0]!;
  const run = langevin(g, (v) => energy.forward(v), toNhwc(feed(g, "x", x.shape)), {
    steps,
    stepSize: feed(g, "step_size", sizes.shape),
    noise: transpose(feed(g, "noise", noise.shape), [0, 1, 3, 4, 2]),
    metropolis: feed(g, "accept", accept.shape),
    moveClamp: golden.number("move_clamp"),
    range: rangeOf(golden),
    energies: true,
    trajectory: true,
  });
  const early = golden.names("x").map(Number).filter((step) => step !== steps);
  for (const step of early) {
    g.fetch(`x${step}`, toNchw(reshape(slice(run.trajectory!, 0, step, step + 1), run.x.shape)));
  }
  g.fetch(`x${steps}`, toNchw(run.x));
  g.fetch("energies", run.energies!);
  g.fetch("accepted", run.accepted!);
  const feeds = { x: x.data, noise: noise.data, accept: accept.data, step_size: sizes.data };
  const found = await execute(g, feeds, statesOf(golden));
  const check = (name: string, tolerance: Tolerance): Check => ({
    name,
    found: fetched(found, name),
    expected: golden.tensor(name).data,
    tolerance,
  });
  return [
    ...[...early, steps].map((step) => check(`x${step}`, step <= 2 ? TOLERANCES.chainStart : TOLERANCES.chainMiddle)),
    check("energies", TOLERANCES.chainMiddle),
    check("accepted", TOLERANCES.stored),
  ];
}

/** `magnitude`: the EBM's loss with the penalty on squared energies, and its gradient. */
export async function magnitude(golden: Golden, execute: Execute): Promise<Check[]> {
  const g = new Graph();
  const energy = energyOf(new Params(g, ""), golden);
  const [x, data] = [golden.tensor("in.x"), golden.tensor("in.data")];
  const images = [feed(g, "x", x.shape), feed(g, "data", data.shape)].map(toNhwc);
  const gradients = energyGradients(energy, images[0]!, images[1]!, golden.number("magnitude"));
  const { report, parts } = energyUpdate(energy, gradients, x.shape[0]!);
  for (const { param, gradient, factor } of parts) {
    g.fetch(`grad.${param.spec.name}`, factor ? mul(gradient, factor) : gradient);
  }
  for (const name of golden.names("out.")) {
    const value = report[name];
    if (value === undefined) throw new DataError(`out.${name}: expected one of ${Object.keys(report).join(", ")}`);
    g.fetch(`out.${name}`, reshape(value, [1]));
  }
  // No limit that a gradient would reach.
  const feeds = { x: x.data, data: data.data, ebm_clip: [Infinity] };
  const run = await execute(g, feeds, statesOf(golden));
  return [
    ...golden.names("out.").map((name): Check => ({
      name: `out.${name}`,
      found: fetched(run, `out.${name}`),
      expected: golden.tensor(`out.${name}`).data,
      tolerance: name.endsWith("norm") ? TOLERANCES.gradient : TOLERANCES.loss,
    })),
    ...gradientChecks(golden, (name) => fetched(run, name)),
  ];
}

/** `accumulate`: steps of the EBM, each along the gradients of several micro-batches, whose synthesised images the file gives. */
export async function accumulate(golden: Golden, execute: Execute): Promise<Check[]> {
  const microBatches = golden.number("micro_batches");
  const config = accumulateConfig(golden);
  const [part, whole] = [learnGradients(config), learnStep(config, microBatches)];
  let states: Tensors = Object.fromEntries([...part.specs, ...whole.specs].map((s) => [s.name, s.init(0)]));
  states = { ...states, ...withPrefix("ebm.", statesOf(golden, "before.")) };
  const checks: Check[] = [];
  for (let i = 0; i < golden.number("steps"); i++) {
    const losses: number[] = [];
    for (let k = 0; k < microBatches; k++) {
      const [revised, data] = ["revised", "data"].map((what) => nchwToNhwc(golden.tensor(`${i}.${k}.${what}`)));
      // A chain that begins at the images and takes no step.
      const feeds = { data: data!, step_size: [0], fresh: [k === 0 ? 1 : 0], key: [0, 0, 0, 0] };
      const run = await execute(part.graph, feeds, { ...states, [CHAINS]: revised! });
      losses.push(fetched(run, "ebm_loss")[0]!);
      states = { ...states, ...run.assigns };
    }
    const { c1, c2 } = biasCorrections(ENERGY_OPTIMIZER, i + 1);
    const scalars = {
      ...{ strict: 1, change: 0, f_revised: 0, f_data: 0, ebm_on: 1, ebm_threshold: Infinity },
      ...{ ebm_lr: golden.number("lr"), ebm_c1: c1, ebm_c2: c2, ebm_clip: golden.number("clip") },
    };
    const feeds = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, [value]]));
    const run = await execute(whole.graph, feeds, states);
    states = { ...states, ...run.assigns };
    const check = (name: string, found: ArrayLike<number>, tolerance: Tolerance): Check => ({
      name: `${i}.${name}`,
      found,
      expected: golden.tensor(`${i}.${name}`).data,
      tolerance,
    });
    checks.push(check("ebm_loss", losses, TOLERANCES.learningNorms));
    checks.push(check("ebm_norm", fetched(run, "ebm_norm"), TOLERANCES.learningNorms));
  }
  for (const name of golden.names("after.")) {
    const expected = golden.tensor(`after.${name}`).data;
    checks.push({
      name: `after.${name}`,
      found: states[`ebm.${name}`] ?? [],
      expected,
      tolerance: TOLERANCES.learningParameters,
    });
  }
  return checks;
}

const withPrefix = (prefix: string, tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [`${prefix}${name}`, value]));

function accumulateConfig(golden: Golden): LearnConfig {
  const [, channelsIn, height, width] = golden.tensor("0.0.data").shape as [number, number, number, number];
  const size = { channelsIn, height, width };
  const channels = golden.tensor("before.f.0.bias").shape[0]!;
  return {
    // The flow has no part in it.
    flow: { ...FLOW_DEFAULTS, ...size, scales: [[0, 0]], channels: 4, blocks: 0, dequantization: "uniform" },
    energy: { ...ENERGY_DEFAULTS, ...size, channels },
    batch: golden.number("batch"),
    chain: { steps: 1, noise: false },
    magnitude: golden.number("magnitude"),
    start: "persistent",
    flowUpdate: false,
  };
}
