/**
 * What line charts and histograms share: a frame with axes, a legend, and values under the pointer. Lines are SVG that is stretched to the room
 * there is; texts are HTML beside it, so that they stay as large on a phone as on a desk.
 */
import { type Content, Html, jsonScript, markup } from "./html.ts";
import type { Axis, Scale } from "./scale.ts";

/** Length of each side of the stretched drawing. */
const SIDE = 1000;
/** Series have as many colours; more go round. */
const COLOURS = 8;

/** One line of a chart as it is drawn and told. */
export interface Trace {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Beside the name in the legend. */
  readonly note?: string | undefined;
  /** SVG elements below the line. */
  readonly below: Html;
  /** SVG elements of the line itself. */
  readonly line: Html;
}

/** A chart's parts. */
export interface Frame {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly xScale: Scale;
  readonly yScale: Scale;
  readonly traces: readonly Trace[];
  readonly caption?: Content;
}

/** The class that gives a series its colour. */
export function colourClass(index: number): string {
  return `c${index % COLOURS}`;
}

/** A position as a coordinate of the drawing. */
export function across(scale: Scale, value: number): number {
  return Number((scale.position(value) * SIDE).toFixed(1));
}

/** The same from above. */
export function down(scale: Scale, value: number): number {
  return Number((SIDE - scale.position(value) * SIDE).toFixed(1));
}

/** The chart as a figure. */
export function chartFigure({ title, x, y, xScale, yScale, traces, caption }: Frame): Html {
  const rules = yScale.ticks.map(({ position }) => {
    const at = Number((SIDE - position * SIDE).toFixed(1));
    return new Html(`<path class="rule" d="M0 ${at}H${SIDE}"/>`);
  });
  const drawn = traces.map((trace, i) => markup`<g class="${colourClass(i)}">${trace.below}${trace.line}</g>`);
  const data = {
    from: xScale.from,
    to: xScale.to,
    log: xScale.log,
    label: x.label,
    series: traces.map((trace) => ({ name: trace.name, x: trace.x.map(short), y: trace.y.map(short) })),
  };
  return markup`<figure class="chart">
<figcaption><b>${title}</b> <span>${y.label}${y.log === true ? " (log)" : ""}</span></figcaption>
${traces.length > 1 || traces[0]?.note !== undefined ? legend(traces) : undefined}
<div class="plot"><div class="yticks">${
    yScale.ticks.map(({ position, text }) => markup`<span style="bottom:${percent(position)}">${text}</span>`)
  }</div><div class="area"><svg viewBox="0 0 ${String(SIDE)} ${
    String(SIDE)
  }" preserveAspectRatio="none" role="img" aria-label="${title}: ${
    traces.map(({ name }) => name).join(", ")
  }">${rules}${drawn}</svg><div class="cursor" hidden></div><div class="tip" hidden></div></div><div class="xticks">${
    xScale.ticks.map(({ position, text }) => markup`<span style="left:${percent(position)}">${text}</span>`)
  }</div><div class="xlabel">${x.label}${x.log === true ? " (log)" : ""}</div></div>
${caption === undefined ? undefined : markup`<p class="note">${caption}</p>`}${jsonScript(data)}</figure>`;
}

function legend(traces: readonly Trace[]): Html {
  return markup`<ul class="legend">${
    traces.map(({ name, note }, i) =>
      markup`<li class="${colourClass(i)}"><i></i>${name}${
        note === undefined ? undefined : markup` <span>${note}</span>`
      }</li>`
    )
  }</ul>`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)}%`;
}

/** As many digits as a reader can use; JSON has no infinity. */
function short(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(5)) : null;
}
