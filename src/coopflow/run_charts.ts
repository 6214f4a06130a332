/** Which charts a run's figures make. */
import type { Html } from "../report/html.ts";
import { lineChart, type LineSeries } from "../report/line_chart.ts";

/** A chart of figures over the iterations. */
export interface RunChart {
  readonly title: string;
  /** The y axis. */
  readonly label: string;
  readonly log?: boolean;
  /** Names of figures in the log, each with what to call it. */
  readonly keys: readonly (readonly [key: string, name: string])[];
  readonly caption?: string;
}

/** The charts of a run, in the order of the page. */
export const CHARTS: readonly RunChart[] = [
  {
    title: "Flow loss",
    label: "bits/dim",
    log: true,
    keys: [["bitsPerDim", "flow"]],
    caption:
      "−log₂ of the flow's density at the revised images, per dimension. It falls as the flow catches up with the chain.",
  },
  {
    title: "EBM loss",
    label: "mean f(revised) − mean f(data)",
    keys: [["ebmLoss", "energy gap"], ["ebmMagnitude", "magnitude term"]],
    caption: "Around 0 while the two agree; one that grows without end means that the EBM runs away.",
  },
  {
    title: "Mean f",
    label: "the larger, the likelier",
    keys: [["fData", "data"], ["fProposal", "proposals"], ["fRevised", "revised"]],
    caption: "The chain raises f from the proposals' to the revised images' value, which should come to the data's.",
  },
  {
    title: "Image change",
    label: "root mean square of revised − proposal",
    keys: [["change", "change"]],
    caption: "How far the Langevin chain moves proposals; images lie in [−1, 1]. Near 0 the chain does nothing.",
  },
  {
    title: "Acceptance",
    label: "share of the chain's moves",
    keys: [["acceptance", "accepted"]],
    caption:
      "Metropolis adjustment: about 0.57 is best for long chains; near 0 the chain stands still, near 1 its steps are small.",
  },
  {
    title: "Gradient norms",
    label: "before clipping",
    log: true,
    keys: [["flowNorm", "flow"], ["ebmNorm", "EBM"]],
  },
  { title: "Learning rates", label: "learning rate", keys: [["flowLr", "flow"], ["ebmLr", "EBM"]] },
  {
    title: "Time",
    label: "seconds an iteration",
    log: true,
    keys: [["seconds", "in all"], ["dataSeconds", "reading data"]],
  },
];

/** Figures that are not charted: what others are made from, or conditions. */
const LEFT_OUT = new Set(["flowNll", "flowUpdated", "ebmUpdated"]);

/** Charts of figures that {@linkcode CHARTS} do not have. */
export function otherCharts(names: readonly string[]): RunChart[] {
  const known = new Set(CHARTS.flatMap(({ keys }) => keys.map(([key]) => key)));
  return names.filter((name) => !known.has(name) && !LEFT_OUT.has(name))
    .map((name) => ({ title: name, label: "", keys: [[name, name]] }));
}

/** Draws a chart. */
export function chartOf({ title, label, log, caption }: RunChart, series: readonly LineSeries[]): Html {
  return lineChart({
    title,
    x: { label: "iteration" },
    y: { label, ...(log === undefined ? {} : { log }) },
    series: series.filter(({ y }) => y.length > 0),
    ...(caption === undefined ? {} : { caption }),
  });
}
