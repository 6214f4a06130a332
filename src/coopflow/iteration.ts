/** What the host makes of one learning iteration's results. */
import { CoopFlowError } from "../errors.ts";
import { bitsPerDim } from "../metrics/bits_per_dim.ts";
import type { Fetches } from "../runtime/program.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { IterationEvent } from "./events.ts";
import type { Counters } from "./schedule.ts";

/** Values that learning stops at when they are not finite, in the order in which they are computed. */
export const WATCHED = [
  { name: "f_proposal", key: "fProposal", what: "the mean energy of the proposals" },
  { name: "change", key: "change", what: "the change that the Langevin chain makes" },
  { name: "flow_nll", key: "flowNll", what: "the flow's negative log-likelihood" },
  { name: "flow_norm", key: "flowNorm", what: "the flow's gradient norm" },
  { name: "f_revised", key: "fRevised", what: "the mean energy of the revised images" },
  { name: "f_data", key: "fData", what: "the mean energy of the data" },
  { name: "ebm_loss", key: "ebmLoss", what: "the EBM's loss" },
  { name: "ebm_norm", key: "ebmNorm", what: "the EBM's gradient norm" },
] as const;

function scalar(fetches: Fetches, name: string): number {
  return fetches[name]?.[0] ?? NaN;
}

/**
 * @param iteration counted from 1
 * @param largest says where the parameters are largest, as a NaN itself does not tell where it came from
 * @throws {CoopFlowError} naming the first value that is not finite
 */
export function checkFinite(iteration: number, fetches: Fetches, largest: () => string): void {
  for (const { name, what } of WATCHED) {
    const value = fetches[name]?.[0];
    if (value === undefined) continue; // not part of this phase
    if (Number.isFinite(value)) continue;
    throw new CoopFlowError(
      `iteration ${iteration}: expected finite values, found ${what} (${name}) = ${value} first; nothing was changed; ` +
        `${largest()}; lower the learning rates or the step size, or set training.stopOnNaN to false to skip such updates`,
    );
  }
}

/** The counters after an iteration: a skipped update leaves its schedule where it was. */
export function nextCounters(counters: Counters, fetches: Fetches): Counters {
  return {
    ...counters,
    iteration: counters.iteration + 1,
    flowUpdates: counters.flowUpdates + (scalar(fetches, "flow_ok") === 1 ? 1 : 0),
    ebmUpdates: counters.ebmUpdates + (scalar(fetches, "ebm_ok") === 1 ? 1 : 0),
  };
}

/** The event that tells of an iteration. */
export function iterationEvent(
  config: CoopFlowConfig,
  iteration: number,
  times: Pick<IterationEvent, "seconds" | "dataSeconds">,
  scalars: Readonly<Record<string, number>>,
  fetches: Fetches,
): IterationEvent {
  const { height, width, channels } = config.data;
  const flowNll = scalar(fetches, "flow_nll");
  return {
    type: "iteration",
    iteration,
    iterations: config.training.iterations,
    ...times,
    metrics: {
      flowNll,
      bitsPerDim: bitsPerDim(flowNll, height * width * channels),
      flowNorm: scalar(fetches, "flow_norm"),
      fProposal: scalar(fetches, "f_proposal"),
      fRevised: scalar(fetches, "f_revised"),
      fData: scalar(fetches, "f_data"),
      ebmLoss: scalar(fetches, "ebm_loss"),
      ebmNorm: scalar(fetches, "ebm_norm"),
      change: scalar(fetches, "change"),
      flowUpdated: scalar(fetches, "flow_ok") === 1,
      ebmUpdated: scalar(fetches, "ebm_ok") === 1,
      flowLr: fetches["flow_nll"] === undefined ? NaN : scalars["flow_lr"] ?? NaN,
      ebmLr: fetches["ebm_loss"] === undefined ? NaN : scalars["ebm_lr"] ?? NaN,
    },
  };
}
