/** `report.html` of a run, and the page that compares several. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeAtomic } from "../io/atomic.ts";
import { type Content, formatNumber, type Html } from "../report/html.ts";
import { type Frame, imageFigure, imageSlider } from "../report/image.ts";
import { type LineSeries } from "../report/line_chart.ts";
import { code, columns, folded, page, paragraph, section, warning } from "../report/page.ts";
import { facts, table, type Tile, tiles } from "../report/table.ts";
import { chartOf, CHARTS, otherCharts, type RunChart } from "./run_charts.ts";
import { listPictures } from "./run_directory.ts";
import { readMetrics, type RunMetrics } from "./run_metrics.ts";
import { differences, leaves, readRun, type RunSummary } from "./runs.ts";

/** Most pictures in a page: of more, some are left out evenly. */
const MOST_FRAMES = 40;
/** Most warnings that are shown. */
const MOST_WARNINGS = 20;

const PICTURE =
  "data on the left, proposals of the flow in the middle, what the Langevin chain makes of them on the right";

/**
 * Writes `report.html` of a run.
 *
 * @returns its path
 */
export async function writeRunPage(path: string): Promise<string> {
  const file = join(path, "report.html");
  await writeAtomic(file, new TextEncoder().encode(await runPage(path)));
  return file;
}

/** The page of one run. */
export async function runPage(path: string): Promise<string> {
  const run = await readRun(path);
  const metrics = await readMetrics(join(path, "metrics.jsonl"));
  const { height, width, channels } = run.config.data;
  const { state } = run;
  const reason = state?.reason === undefined ? "" : `: ${state.reason}`;
  const size = `${height}×${width}×${channels} images, ${run.config.training.batch} an iteration`;
  return page({
    title: run.name,
    intro: `${state?.state ?? "not begun"}${reason} · ${size}${
      state === undefined ? "" : ` · begun ${day(state.started)}`
    }`,
    content: [
      tiles(tilesOf(run, metrics)),
      metrics.warnings.slice(-MOST_WARNINGS).map(({ iteration, message, advice }) =>
        warning(`Iteration ${formatNumber(iteration)}: ${message}. What to try: ${advice}.`)
      ),
      section("Learning", columns(CHARTS.flatMap((chart) => withCurves(chart, seriesOfRun(metrics, chart.keys))))),
      section("Samples", samples(await framesOf(path))),
      otherSection(metrics),
      section("Configuration", facts(leaves(run.config, ""))),
      section("Environment", facts(leaves(run.environment, ""))),
    ],
  });
}

/** The page of several runs: their curves over each other, and how they differ. */
export async function comparisonPage(paths: readonly string[]): Promise<string> {
  const runs = await Promise.all(paths.map(readRun));
  const metrics = await Promise.all(paths.map((path) => readMetrics(join(path, "metrics.jsonl"))));
  const names = namesOf(runs);
  const figures = runs.map((run, i) => tilesOf(run, metrics[i] ?? NOTHING));
  const labels = [...new Set(figures.flatMap((one) => one.map(({ label }) => label)))];
  const fields = differences(runs.map(({ config }) => config));
  const settings = differences(runs.map(({ environment }) => environment));
  const overlay = (key: string): LineSeries[] =>
    metrics.map(({ iterations, columns }, i) => ({
      name: names[i] ?? "",
      x: iterations,
      y: columns.get(key) ?? [],
    }));
  return page({
    title: `Comparison of ${runs.length} runs`,
    intro: names.join(" · "),
    content: [
      section(
        "Last figures",
        table({
          columns: ["", ...labels],
          rows: figures.map((
            one,
            i,
          ) => [names[i], ...labels.map((label) => one.find((f) => f.label === label)?.value)]),
        }),
      ),
      section("What differs", differenceTable(fields, names, "The configurations are the same.")),
      section(
        "Learning",
        columns(
          CHARTS.flatMap((chart) =>
            chart.keys.flatMap(([key, name]) =>
              withCurves(
                { ...chart, title: chart.keys.length === 1 ? chart.title : `${chart.title}: ${name}` },
                overlay(key),
              )
            )
          ),
        ),
      ),
      section("Last samples", columns(await Promise.all(paths.map((path, i) => lastPicture(path, names[i] ?? ""))))),
      section("Environments", differenceTable(settings, names, "The environments are the same.")),
      folded(
        "Configurations",
        runs.map(({ config }, i) => [paragraph(names[i]), code(JSON.stringify(config, null, 2))]),
      ),
    ],
  });
}

const NOTHING: RunMetrics = { iterations: [], columns: new Map(), warnings: [] };

/** Names of folders; whole paths where these are the same. */
function namesOf(runs: readonly RunSummary[]): string[] {
  const unique = new Set(runs.map(({ name }) => name)).size === runs.length;
  return runs.map(({ name, path }) => unique ? name : path);
}

/** The large figures of a run. */
function tilesOf({ state, report, config, best }: RunSummary, { iterations, columns }: RunMetrics): Tile[] {
  const seconds = (columns.get("seconds") ?? []).filter(Number.isFinite);
  const learnt = seconds.reduce((sum, value) => sum + value, 0);
  const last = (key: string): Content => columns.get(key)?.at(-1);
  const { frechet, count, heldout, bitsPerDim } = report;
  const { metric, value, iteration } = best ?? {};
  return [
    {
      label: "iterations",
      value: iterations.at(-1) ?? 0,
      note: `of ${formatNumber(state?.iterations ?? config.training.iterations)}`,
    },
    {
      label: "time",
      value: time(learnt),
      note: `${formatNumber(learnt / Math.max(1, seconds.length))} s an iteration`,
    },
    { label: "flow, bits/dim", value: last("bitsPerDim"), note: "last iteration, revised images" },
    { label: "EBM loss", value: last("ebmLoss"), note: "last iteration" },
    { label: "image change", value: last("change"), note: "last iteration" },
    // At the end nothing but the end is known to be the best.
    ...(metric === undefined || value === frechet?.revised ? [] : [{
      label: `best ${metric === "frechet" ? "pixel Fréchet distance" : "held-out bits/dim"}`,
      value,
      note: `iteration ${formatNumber(iteration ?? 0)}`,
    }]),
    ...(bitsPerDim === undefined
      ? []
      : [{ label: "held-out bits/dim", value: bitsPerDim, note: `${formatNumber(heldout ?? 0)} images` }]),
    ...(frechet === undefined ? [] : [
      {
        label: "pixel Fréchet distance, revised",
        value: frechet.revised,
        note: `${formatNumber(count ?? 0)} images to ${formatNumber(heldout ?? 0)} held-out ones`,
      },
      {
        label: "pixel Fréchet distance, proposals",
        value: frechet.proposals,
        note: `noise ${formatNumber(frechet.noise)}`,
      },
    ]),
  ];
}

function seriesOfRun({ iterations, columns }: RunMetrics, keys: readonly (readonly [string, string])[]): LineSeries[] {
  return keys.map(([key, name]) => ({ name, x: iterations, y: columns.get(key) ?? [] }));
}

/** The chart, unless the phase or the configuration has none of its figures. */
function withCurves(chart: RunChart, series: readonly LineSeries[]): Html[] {
  return series.some(({ y }) => y.length > 0) ? [chartOf(chart, series)] : [];
}

/** Charts of figures that have no place of their own. */
function otherSection(metrics: RunMetrics): Content {
  const charts = otherCharts([...metrics.columns.keys()]);
  if (charts.length === 0) return undefined;
  return section("Other figures", columns(charts.map((chart) => chartOf(chart, seriesOfRun(metrics, chart.keys)))));
}

async function framesOf(path: string): Promise<Frame[]> {
  const files = await listPictures(path);
  const count = Math.min(MOST_FRAMES, files.length);
  const chosen = Array.from(
    { length: count },
    (_, i) => files[count === 1 ? 0 : Math.round(i * (files.length - 1) / (count - 1))],
  );
  return await Promise.all(chosen.flatMap((file) => file === undefined ? [] : [frameOf(file)]));
}

async function frameOf({ iteration, path }: { iteration: number; path: string }): Promise<Frame> {
  return { label: `iteration ${formatNumber(iteration)}`, png: await readFile(path) };
}

function samples(frames: readonly Frame[]): Content {
  const [first] = frames;
  if (first === undefined) return paragraph("No pictures yet.");
  const caption = `From left to right: ${PICTURE}.`;
  if (frames.length > 1) return imageSlider({ frames, alt: PICTURE, caption });
  return imageFigure({ png: first.png, alt: PICTURE, caption: `${first.label}. ${caption}` });
}

async function lastPicture(path: string, name: string): Promise<Content> {
  const file = (await listPictures(path)).at(-1);
  if (file === undefined) return paragraph(`${name}: no pictures yet.`);
  const { label, png } = await frameOf(file);
  return imageFigure({ png, alt: `${name}: ${PICTURE}`, caption: `${name}, ${label}` });
}

function differenceTable(
  found: readonly { field: string; values: readonly string[] }[],
  names: readonly string[],
  none: string,
): Content {
  if (found.length === 0) return paragraph(none);
  return table({ columns: ["field", ...names], rows: found.map(({ field, values }) => [field, ...values]) });
}

/** 2026-01-31T12:34:56.789Z → 2026-01-31 12:34 UTC. */
function day(text: string): string {
  return `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
}

function time(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (seconds < 100) return `${formatNumber(Number(seconds.toFixed(1)))}\u00a0s`;
  return minutes < 120 ? `${minutes}\u00a0min` : `${formatNumber(Number((seconds / 3600).toFixed(1)))}\u00a0h`;
}
