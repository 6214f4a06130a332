/**
 * How results look in a notebook. Deno's Jupyter kernel shows an object by its method `Symbol.for("Jupyter.display")`, which returns a bundle: the same
 * in several MIME types, of which the notebook takes the richest.
 */
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { encodePng } from "../io/png.ts";
import { type GridOptions, type GridPanel, imageGrid } from "../metrics/grid.ts";
import { type Content, formatNumber, markup } from "../report/html.ts";
import { imageFigure } from "../report/image.ts";
import { table } from "../report/table.ts";
import type { Densities } from "./density.ts";
import type { ChainDiagnostics } from "./diagnose.ts";
import type { Evaluation } from "./evaluation.ts";
import { evaluationPage } from "./evaluation_page.ts";
import type { TrainEvent } from "./events.ts";
import type { Interpolation } from "./interpolate.ts";
import type { Samples, Trajectories } from "./sampling.ts";
import type { Found } from "./search.ts";

/** What a notebook shows: `text/plain`, `text/html`, and `image/png` in base 64. */
export type DisplayBundle = Readonly<Record<string, string>>;

/** The name of the method. */
const DISPLAY = Symbol.for("Jupyter.display");

/** Most images of a panel, chains, and states of a chain in a picture. */
const MOST_IMAGES = 64;
const MOST_ROWS = 16;
const MOST_STATES = 16;

/** Gives an object the method, which no one meets who does not look for it: not JSON, not `console.log`, not copies. */
function displayed<T extends object>(value: T, bundle: () => DisplayBundle | Promise<DisplayBundle>): T {
  // Configurable, as an event may be handed on by another generator.
  return Object.defineProperty(value, DISPLAY, { value: () => Promise.resolve(bundle()), configurable: true });
}

function picture(text: string, png: Uint8Array): DisplayBundle {
  return {
    "text/plain": text,
    "text/html": imageFigure({ png, alt: text, caption: text }).text,
    "image/png": Buffer.from(png).toString("base64"),
  };
}

function grid(text: string, panels: readonly GridPanel[], options: GridOptions = {}): DisplayBundle {
  return picture(text, encodePng(imageGrid(panels, options)));
}

/** Up to `most` of 0 … n − 1, evenly, both ends included. */
function some(n: number, most: number): number[] {
  const count = Math.min(n, most);
  return Array.from({ length: count }, (_, i) => count === 1 ? 0 : Math.round(i * (n - 1) / (count - 1)));
}

/** Panels side by side, of the first images of each. */
function panelsOf(
  { count, height, width, channels }: Omit<GridPanel, "images">,
  lists: readonly Float32Array[],
): GridPanel[] {
  const shown = Math.min(count, MOST_IMAGES);
  return lists.map((images) => ({ images, count: shown, height, width, channels }));
}

function sizeText({ height, width, channels }: Omit<GridPanel, "images" | "count">): string {
  return `${height}×${width}×${channels}`;
}

/** Samples as a picture: proposals | revised images. */
export function displayedSamples<T extends Samples>(samples: T): T {
  const { count, proposals, images } = samples;
  const text = `${count} samples of ${sizeText(samples)}: proposals | revised`;
  return displayed(samples, () => grid(text, panelsOf(samples, [proposals, images])));
}

/** Trajectories as a picture: a chain a row. */
export function displayedTrajectories(found: Trajectories): Trajectories {
  const { count, states, height, width, channels, trajectories } = found;
  return displayed(found, () => {
    const columns = some(states, MOST_STATES);
    const rows = Math.min(count, MOST_ROWS);
    const size = height * width * channels;
    const images = new Float32Array(rows * columns.length * size);
    for (let row = 0; row < rows; row++) {
      columns.forEach((state, k) => {
        const at = (row * states + state) * size;
        images.set(trajectories.subarray(at, at + size), (row * columns.length + k) * size);
      });
    }
    const text = `${count} chains of ${states} states, from the proposal to the revised image`;
    const panel = { images, count: rows * columns.length, height, width, channels };
    return grid(text, [panel], { columns: columns.length });
  });
}

/** What a search found as a picture: starts | ends of chains. */
export function displayedFound(found: Found): Found {
  const { count, starts, images, psnr } = found;
  const mean = psnr.reduce((sum, value) => sum + value, 0) / count;
  const text = `${count} images: starts | ends of their chains, mean PSNR ${mean.toFixed(2)} dB`;
  return displayed(found, () => grid(text, panelsOf(found, [starts, images])));
}

/** Walks as a picture: one a row. */
export function displayedInterpolation(found: Interpolation): Interpolation {
  const { pairs, points, images, height, width, channels } = found;
  const rows = Math.min(pairs, MOST_ROWS);
  const panel = { images, count: rows * points, height, width, channels };
  return displayed(found, () => grid(`${pairs} walks of ${points} images`, [panel], { columns: points }));
}

/** Names and values, as a table and as text. */
function facts(title: string, rows: readonly (readonly [name: string, value: number | string])[]): DisplayBundle {
  const shown = (value: number | string): string => typeof value === "number" ? formatNumber(value) : value;
  return {
    "text/plain": `${title}: ${rows.map(([name, value]) => `${name} ${shown(value)}`).join(", ")}`,
    "text/html": markup`<b>${title}</b>${table({ columns: ["", ""], rows: rows.map(([n, v]) => [n, shown(v)]) })}`.text,
  };
}

function spread(values: ArrayLike<number>): string {
  const all = Array.from(values);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const variance = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
  return `${formatNumber(mean)} ± ${formatNumber(Math.sqrt(variance))}`;
}

/** Densities as means and deviations. */
export function displayedDensities(densities: Densities): Densities {
  return displayed(densities, () =>
    facts(`${densities.energies.length} images`, [
      ["bits/dim", spread(densities.bitsPerDim)],
      ["bits/dim, one draw", spread(densities.oneDrawBitsPerDim)],
      ["energy f", spread(densities.energies)],
    ]));
}

/** What chains do, at some of their steps. */
export function displayedChain(chain: ChainDiagnostics): ChainDiagnostics {
  return displayed(chain, () => {
    const columns = ["step", "energy f", "gradient norm", "distance to the proposal"];
    const { energy, gradientNorm, distance } = chain;
    const rows: Content[][] = some(energy.length, MOST_ROWS)
      .map((i) => [i, energy[i], gradientNorm[i], distance[i]]);
    const title = `${chain.count} chains of ${chain.steps} steps`;
    return { "text/plain": title, "text/html": markup`<b>${title}</b>${table({ columns, rows })}`.text };
  });
}

/** An evaluation as its page. */
export function displayedEvaluation(evaluation: Evaluation): Evaluation {
  const title = `iteration ${evaluation.iteration} against ${evaluation.reference.count} images`;
  return displayed(evaluation, () => ({
    "text/plain": `evaluation of ${title}`,
    "text/html":
      markup`<iframe srcdoc="${evaluationPage(title, evaluation)}" style="width:100%;height:40rem;border:0"></iframe>`
        .text,
  }));
}

/** An event of learning as text and table; pictures of samples as such. */
export function displayedEvent<T extends TrainEvent>(event: T): T {
  return displayed(event, () => bundleOf(event));
}

function bundleOf(event: TrainEvent): DisplayBundle | Promise<DisplayBundle> {
  switch (event.type) {
    case "iteration": {
      const figures = Object.entries(event.metrics).filter(([, value]) => !Number.isNaN(value));
      return facts(`iteration ${event.iteration} of ${event.iterations}`, [
        ...figures.map(([name, value]) => [name, typeof value === "number" ? value : String(value)] as const),
        ["seconds", event.seconds],
      ]);
    }
    case "set-up":
      return facts("ready to learn", [
        ["device", event.device.device],
        ["parameters", event.parameters],
        ["iterations done", event.iteration],
        ["iterations in all", event.iterations],
        ["seconds", event.seconds],
      ]);
    case "warning":
      return facts(`warning after iteration ${event.iteration}`, [["what", event.message], [
        "what to try",
        event.advice,
      ]]);
    case "samples":
      return readFile(event.path).then((png) =>
        picture(`iteration ${event.iteration}: data | proposals | revised`, png)
      );
    case "report":
      return facts(`pixel Fréchet distances to ${event.report.heldout} held-out images`, [
        ...Object.entries(event.report.frechet),
        ["bits/dim", event.report.bitsPerDim],
      ]);
    case "measurement":
      return facts(`measured after iteration ${event.iteration}${event.isBest ? ", the best so far" : ""}`, [
        [event.metric, event.value],
      ]);
    case "checkpoint":
      return facts(`checkpoint of iteration ${event.iteration}`, [["file", event.path]]);
    case "profile":
      return facts("measured", [["iterations", event.iterations]]);
    case "notice":
      return facts("notice", [["what", event.message]]);
    case "finished":
      return facts("finished", [["iterations", event.iteration]]);
  }
}
