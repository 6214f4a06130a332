/** What is known of a value that is not finite: which it was first, where it came up, and where parameters are large. */
import { CoopFlowError } from "../errors.ts";
import type { Fetches, NotFinite } from "../runtime/program.ts";
import type { Engine } from "./engine.ts";
import { elements, type ModelStates } from "./states.ts";

/** Values that learning stops at when they are not finite, in the order in which they are computed. */
export const WATCHED = [
  { name: "f_proposal", what: "the mean energy of the proposals" },
  { name: "change", what: "the change that the Langevin chain makes" },
  { name: "flow_nll", what: "the flow's negative log-likelihood" },
  { name: "flow_norm", what: "the flow's gradient norm" },
  { name: "f_revised", what: "the mean energy of the revised images" },
  { name: "f_data", what: "the mean energy of the data" },
  { name: "ebm_loss", what: "the EBM's loss" },
  { name: "ebm_norm", what: "the EBM's gradient norm" },
] as const;

/**
 * The first of an iteration's values that is not finite, in words, in the order in which they are computed; `undefined`: all are.
 *
 * @param look runs the iteration again, changing nothing, to see in which layer such a value first comes up, and in which step of the Langevin chain; it
 * may find none, on a device that can't look or if states have changed since
 */
export async function firstNotFinite(
  fetches: Fetches,
  look?: () => Promise<NotFinite | undefined>,
): Promise<string | undefined> {
  for (const { name, what } of WATCHED) {
    const value = fetches[name]?.[0];
    if (value === undefined || Number.isFinite(value)) continue; // a phase may lack it
    const found = await look?.();
    const where = found === undefined ? "" : `, which began as ${found.value} in ${place(found)}`;
    return `${what} (${name}) is ${value} first${where}`;
  }
  return undefined;
}

function place({ name, op, loops }: NotFinite): string {
  const step = loops.map((loop) => ` in step ${loop + 1}`).join("");
  return name === "" ? `a ${op} of no layer${step}` : `layer ${name} (${op})${step}`;
}

/** Which trained parameter holds the value farthest from 0, in words: a NaN itself does not tell why it came up. */
export function largestParameter({ device }: Engine, states: ModelStates): string {
  let [largest, where] = [0, ""];
  const trained = new Set(states.trained);
  for (const { name, shape } of states.all) {
    if (!trained.has(name)) continue;
    for (const value of device.getState(name, elements(shape))) {
      if (!Number.isFinite(value)) return `the parameter ${name} holds ${value}`;
      if (Math.abs(value) > largest) [largest, where] = [Math.abs(value), name];
    }
  }
  return `the largest parameter is in ${where} (${largest.toPrecision(3)})`;
}

/** The error that learning ends with. */
export function notFiniteError(iteration: number, broken: string, largest: string): CoopFlowError {
  return new CoopFlowError(
    `iteration ${iteration}: expected finite values, found that ${broken}; nothing was changed; ${largest}; ` +
      "lower the learning rates or the step size, or set training.stopOnNaN to false to skip such updates",
  );
}
