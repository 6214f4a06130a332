/** `reconstruct`: the search for the Langevin flow's start. */
import { reconstruct as program } from "../../coopflow/programs/reconstruct.ts";
import { ENERGY_DEFAULTS } from "../../energy/config.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched, type Tensors } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { nchwToNhwc } from "./learning.ts";
import { TOLERANCES } from "./tolerances.ts";

/** Each step from the start that the one before left. The first gradient is the move of a step of rate −1 without a clamp. */
export async function reconstruct(golden: Golden, execute: Execute): Promise<Check[]> {
  const { shape } = golden.tensor("in.target");
  const [batch, channelsIn, height, width] = shape as [number, number, number, number];
  const settings = {
    energy: { ...ENERGY_DEFAULTS, channelsIn, height, width, channels: golden.number("n_f") },
    batch,
    steps: golden.number("steps"),
  };
  const states: Tensors = Object.fromEntries(
    golden.names("param.").map((name) => [`ebm.${name}`, golden.tensor(`param.${name}`).data]),
  );
  const image = (name: string): Float32Array => nchwToNhwc(golden.tensor(name));
  const [target, first] = [image("in.target"), image("in.start")];
  const feeds = { target, step_size: [golden.number("step_size")] };

  const free = program({ ...settings, range: [-Infinity, Infinity] });
  const run = await execute(free.graph, { ...feeds, start: first, rate: [-1] }, states);
  const moved = fetched(run, "next");
  const tolerance = TOLERANCES.reconstruct;
  const checks: Check[] = [
    { name: "out0", found: fetched(run, "images"), expected: image("out0"), tolerance },
    { name: "grad0", found: first.map((x, i) => moved[i]! - x), expected: image("grad0"), tolerance },
  ];

  const { graph } = program(settings);
  let start: ArrayLike<number> = first;
  const losses: number[] = [];
  for (let i = 0; i < golden.number("iterations"); i++) {
    const step = await execute(graph, { ...feeds, start, rate: [golden.number("lr")] }, states);
    losses.push(Array.from(fetched(step, "error")).reduce((a, b) => a + b, 0));
    start = fetched(step, "next");
  }
  return [
    ...checks,
    { name: "losses", found: losses, expected: golden.tensor("losses").data, tolerance },
    { name: "final", found: start, expected: image("final"), tolerance },
  ];
}
