/** Histograms of one or several sets of values over common bins. */
import { across, chartFigure, down, type Trace } from "./chart.ts";
import { type Content, Html } from "./html.ts";
import { type Scale, scaleOf } from "./scale.ts";

/** A set of values; those that are not finite are left out. */
export interface HistogramSeries {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

/** A chart of histograms. */
export interface HistogramOptions {
  readonly title: string;
  /** What the values are. */
  readonly label: string;
  readonly series: readonly HistogramSeries[];
  /** Default 40. */
  readonly bins?: number;
  readonly caption?: Content;
}

/** Overlaid histograms, as shares of each set, so that sets of different sizes compare. */
export function histogram({ title, label, series, bins = 40, caption }: HistogramOptions): Html {
  const sets = series.map(({ values }) => Array.from(values).filter(Number.isFinite));
  const [low, high] = rangeOf(sets);
  const edges = Array.from({ length: bins + 1 }, (_, i) => low + (high - low) * i / bins);
  const shares = sets.map((values) => sharesOf(values, low, high, bins));
  const xScale = scaleOf(low, high, false, false, 6);
  const yScale = scaleOf(0, Math.max(1e-9, ...shares.flat()) * 1.05, false, false, 5);
  const centres = edges.slice(1).map((edge, i) => (edge + (edges[i] ?? edge)) / 2);
  const traces = shares.map((share, i): Trace => {
    const outline = outlineOf(share, edges, xScale, yScale);
    return {
      name: series[i]?.name ?? "",
      x: centres,
      y: share,
      note: `${(sets[i]?.length ?? 0).toLocaleString("en-US")} values`,
      below: new Html(`<path class="band" d="${outline}Z"/>`),
      line: new Html(`<path class="line" d="${outline}"/>`),
    };
  });
  const x = { label };
  const y = { label: "share of the values" };
  return chartFigure({ title, x, y, xScale, yScale, traces, caption });
}

function rangeOf(sets: readonly (readonly number[])[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const values of sets) {
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function sharesOf(values: readonly number[], low: number, high: number, bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  for (const value of values) {
    const bin = Math.min(bins - 1, Math.floor((value - low) / (high - low) * bins));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts.map((count) => count / Math.max(1, values.length));
}

function outlineOf(shares: readonly number[], edges: readonly number[], xScale: Scale, yScale: Scale): string {
  const steps = shares.map((share, i) => `V${down(yScale, share)}H${across(xScale, edges[i + 1] ?? NaN)}`);
  return `M${across(xScale, edges[0] ?? NaN)} ${down(yScale, 0)}${steps.join("")}V${down(yScale, 0)}`;
}
