/** What the host makes of one learning iteration's results. */
import { bitsPerDim } from "../metrics/bits_per_dim.ts";
import type { Fetches } from "../runtime/program.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { IterationEvent } from "./events.ts";
import type { Counters } from "./schedule.ts";

function scalar(fetches: Fetches, name: string): number {
  return fetches[name]?.[0] ?? NaN;
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
      ...(fetches["acceptance"] === undefined ? {} : { acceptance: scalar(fetches, "acceptance") }),
      ...(fetches["ebm_magnitude"] === undefined ? {} : { ebmMagnitude: scalar(fetches, "ebm_magnitude") }),
      ebmLr: fetches["ebm_loss"] === undefined ? NaN : scalars["ebm_lr"] ?? NaN,
    },
  };
}
