/** `learning`: whole learning iterations with given draws, and what they make of the parameters. */
import { DataError } from "../../errors.ts";
import { LANGEVIN_DEFAULTS } from "../../energy/langevin.ts";
import { learn } from "../../coopflow/programs/learn.ts";
import { ENERGY_OPTIMIZER, FLOW_OPTIMIZER } from "../../coopflow/programs/updates.ts";
import { biasCorrections } from "../../optim/adam.ts";
import { warmUp } from "../../optim/schedules.ts";
import type { Check } from "./compare.ts";
import { energyConfig, fieldsOf, flowConfig } from "./configs.ts";
import { type Execute, type Execution, fetched, type Tensors } from "./execute.ts";
import type { Golden, GoldenTensor } from "./golden.ts";
import { TOLERANCES } from "./tolerances.ts";

/** [N,C,H,W] → [N,H,W,C]. */
export function nchwToNhwc({ shape, data }: GoldenTensor): Float32Array {
  const [n, c, h, w] = shape as [number, number, number, number];
  const pixels = h * w;
  const out = new Float32Array(data.length);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < c; k++) {
      for (let p = 0; p < pixels; p++) out[(i * pixels + p) * c + k] = data[(i * c + k) * pixels + p]!;
    }
  }
  return out;
}

/** What the reference logged of one iteration. */
interface Logged {
  readonly losses: Readonly<Record<"flow_nll" | "f_data" | "f_revised", number>>;
  readonly norms: Readonly<Record<"flow_norm_gains" | "flow_norm_rest" | "ebm_norm", number>>;
  readonly factor: number;
}

function readLog(golden: Golden): Logged[] {
  const log = golden.setting("log");
  if (!Array.isArray(log)) throw new DataError(`metadata "log": expected a list, found ${JSON.stringify(log)}`);
  const number = (from: unknown, key: string): number => {
    const value = fieldsOf(from, "log")(key);
    if (typeof value !== "number") {
      throw new DataError(`metadata "log": expected a number "${key}", found ${JSON.stringify(value)}`);
    }
    return value;
  };
  return log.map((entry: unknown) => {
    const norms = fieldsOf(entry, "log")("flow_grad_norm");
    return {
      losses: {
        flow_nll: number(entry, "flow_nll"),
        f_data: number(entry, "f_data"),
        f_revised: number(entry, "f_revised"),
      },
      norms: {
        flow_norm_gains: number(norms, "weight_g"),
        flow_norm_rest: number(norms, "rest"),
        ebm_norm: number(entry, "ebm_grad_norm"),
      },
      factor: number(entry, "lr_factor"),
    };
  });
}

/** Scalar feeds of update `i` (from 0): both models on, nothing skipped, the EBM unclipped as on CIFAR-10. */
function scalars(golden: Golden, i: number): Record<string, number[]> {
  const rate = golden.number("lr") * warmUp(i, golden.number("warm_up_batches"));
  const flow = biasCorrections(FLOW_OPTIMIZER, i + 1);
  const ebm = biasCorrections(ENERGY_OPTIMIZER, i + 1);
  const values = {
    step_size: golden.number("step_size"),
    strict: 1,
    flow_on: 1,
    flow_lr: rate,
    flow_c1: flow.c1,
    flow_c2: flow.c2,
    flow_clip: golden.number("clip"),
    flow_threshold: Infinity,
    ebm_on: 1,
    ebm_lr: rate,
    ebm_c1: ebm.c1,
    ebm_c2: ebm.c2,
    ebm_clip: Infinity,
    ebm_threshold: Infinity,
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value]]));
}

function iterationChecks(golden: Golden, i: number, logged: Logged, run: Execution): Check[] {
  const image = (name: string, fetch: string): Check => ({
    name: `${i}.${name}`,
    found: fetched(run, fetch),
    expected: nchwToNhwc(golden.tensor(`${i}.${name}`)),
    tolerance: TOLERANCES.learningImages,
  });
  const logChecks = (values: Readonly<Record<string, number>>, tolerance: Check["tolerance"]): Check[] =>
    Object.entries(values).map(([name, value]) => ({
      name: `${i}.${name}`,
      found: fetched(run, name),
      expected: [value],
      tolerance,
    }));
  return [
    image("proposal", "proposals"),
    image("revised", "images"),
    ...logChecks(logged.losses, TOLERANCES.loss),
    ...logChecks(logged.norms, TOLERANCES.learningNorms),
    // The schedule is the host's: it has to be the reference's to the last bit that matters.
    {
      name: `${i}.lr_factor`,
      found: [warmUp(i, golden.number("warm_up_batches"))],
      expected: [logged.factor],
      tolerance: TOLERANCES.loss,
    },
  ];
}

/** Runs as many iterations as the file has, each from the states that the one before left. */
export async function learning(golden: Golden, execute: Execute): Promise<Check[]> {
  const program = learn({
    flow: flowConfig(fieldsOf(golden.setting("flow"), "flow")),
    energy: energyConfig(fieldsOf(golden.setting("ebm"), "ebm")),
    batch: golden.number("batch"),
    chain: {
      steps: golden.number("steps"),
      noise: false,
      moveClamp: LANGEVIN_DEFAULTS.moveClamp,
      range: LANGEVIN_DEFAULTS.range,
    },
    flowOptimizer: { ...FLOW_OPTIMIZER, gainDecay: golden.number("weight_decay_on_gains") },
    given: ["z", "eps"],
    images: true,
  });
  let states: Tensors = Object.fromEntries(program.specs.map((s) => [s.name, s.init(0)]));
  for (const model of ["flow", "ebm"]) {
    const before = golden.names(`${model}.before.`);
    const read = (
      name: string,
    ): [string, Float32Array] => [`${model}.${name}`, golden.tensor(`${model}.before.${name}`).data];
    states = { ...states, ...Object.fromEntries(before.map(read)) };
  }
  const checks: Check[] = [];
  for (const [i, logged] of readLog(golden).entries()) {
    const images = Object.fromEntries(
      ["z", "eps", "data"].map((name) => [name, nchwToNhwc(golden.tensor(`${i}.${name}`))]),
    );
    const run = await execute(program.graph, { ...images, ...scalars(golden, i) }, states);
    checks.push(...iterationChecks(golden, i, logged, run));
    states = { ...states, ...run.assigns };
  }
  for (const model of ["flow", "ebm"]) {
    for (const name of golden.names(`${model}.after.`)) {
      const full = `${model}.after.${name}`;
      const found = states[`${model}.${name}`] ?? [];
      checks.push({ name: full, found, expected: golden.tensor(full).data, tolerance: TOLERANCES.learningParameters });
    }
  }
  return checks;
}
