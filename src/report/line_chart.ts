/** Curves over a common axis. */
import { across, chartFigure, down, type Trace } from "./chart.ts";
import { type Content, formatNumber, Html } from "./html.ts";
import { type Axis, type Scale, scaleOf } from "./scale.ts";

/** A curve. Points whose y is no finite number interrupt it. */
export interface LineSeries {
  readonly name: string;
  /** Rising. */
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
}

/** A chart of curves. */
export interface LineChartOptions {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
  /** Below the chart. */
  readonly caption?: Content;
}

/** More points than this are drawn as means of neighbours over a band from their least to their greatest. */
const MOST_POINTS = 300;

/** Points of a curve, each of one or several neighbours. */
interface Points {
  readonly x: number[];
  readonly mean: number[];
  readonly least: number[];
  readonly greatest: number[];
}

/** A chart of curves, with a legend, the last value of each, and values under the pointer. */
export function lineChart({ title, x, y, series, caption }: LineChartOptions): Html {
  const points = series.map((one) => pointsOf(one, x.log === true, y.log === true));
  const xs = finite(points.flatMap((one) => one.x));
  const ys = finite(points.flatMap((one) => [...one.least, ...one.greatest]));
  const xScale = scaleOf(least(xs), greatest(xs), x.log === true, false, 6);
  const yScale = scaleOf(least(ys), greatest(ys), y.log === true, true, 5);
  const traces = points.map((one, i): Trace => ({
    name: series[i]?.name ?? "",
    x: one.x,
    y: one.mean,
    note: lastOf(series[i]),
    below: bandOf(one, xScale, yScale),
    line: lineOf(one, xScale, yScale),
  }));
  return chartFigure({ title, x, y, xScale, yScale, traces, caption });
}

function lastOf(series: LineSeries | undefined): string | undefined {
  const last = series?.y[series.y.length - 1];
  return last === undefined ? undefined : formatNumber(last);
}

function pointsOf({ x, y }: LineSeries, logX: boolean, logY: boolean): Points {
  const shown = Array.from(x, (_, i) => i).filter((i) => !logX || (x[i] ?? 0) > 0);
  const size = Math.max(1, Math.ceil(shown.length / MOST_POINTS));
  const points: Points = { x: [], mean: [], least: [], greatest: [] };
  for (let at = 0; at < shown.length; at += size) {
    const group = shown.slice(at, at + size);
    const values = finite(group.map((i) => y[i] ?? NaN)).filter((value) => !logY || value > 0);
    points.x.push(meanOf(group.map((i) => x[i] ?? NaN)));
    points.mean.push(meanOf(values));
    points.least.push(values.length === 0 ? NaN : least(values));
    points.greatest.push(values.length === 0 ? NaN : greatest(values));
  }
  return points;
}

function lineOf({ x, mean }: Points, xScale: Scale, yScale: Scale): Html {
  let path = "";
  let drawing = false;
  mean.forEach((value, i) => {
    if (Number.isFinite(value)) {
      const next = mean[i + 1];
      path += `${drawing ? "L" : "M"}${across(xScale, x[i] ?? NaN)} ${down(yScale, value)}`;
      // A point alone has no length; its round ends make it a dot.
      if (!drawing && !(next !== undefined && Number.isFinite(next))) path += "h0";
    }
    drawing = Number.isFinite(value);
  });
  return new Html(`<path class="line" d="${path}"/>`);
}

function bandOf(points: Points, xScale: Scale, yScale: Scale): Html {
  const { x, least, greatest } = points;
  let paths = "";
  for (let from = 0; from < x.length; from++) {
    let to = from;
    while (to < x.length && Number.isFinite(least[to])) to++;
    const indices = Array.from({ length: to - from }, (_, i) => from + i);
    if (indices.some((i) => least[i] !== greatest[i])) {
      const at = (i: number, y: readonly number[]): string =>
        `${across(xScale, x[i] ?? NaN)} ${down(yScale, y[i] ?? NaN)}`;
      const outline = [...indices.map((i) => at(i, greatest)), ...indices.toReversed().map((i) => at(i, least))];
      paths += `<path class="band" d="M${outline.join("L")}Z"/>`;
    }
    from = to;
  }
  return new Html(paths);
}

function finite(values: readonly number[]): number[] {
  return values.filter(Number.isFinite);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** 1 of none, so that an empty chart has axes too. */
function least(values: readonly number[]): number {
  return values.length === 0 ? 1 : values.reduce((a, b) => Math.min(a, b));
}

function greatest(values: readonly number[]): number {
  return values.length === 0 ? 1 : values.reduce((a, b) => Math.max(a, b));
}
