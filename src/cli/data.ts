/** `coopflow data`. */
import { writePng } from "../io/png.ts";
import { imageGrid } from "../metrics/grid.ts";
import { DataError, UsageError } from "../errors.ts";
import { type Dataset, imageElements } from "../data/dataset.ts";
import { summarise, type Summary } from "../data/describe.ts";
import { openDataset, type OpenedDataset } from "../data/open.ts";
import { type DataOptions, decodingProgress } from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";

/** The options of the command. */
export interface DataCommandOptions extends DataOptions {
  readonly grid?: string;
  readonly json?: boolean;
}

/** Images in the picture. */
const GRID_IMAGES = 100;
/** Bars of the histogram in text. */
const BARS = 32;
const BLOCKS = " ▁▂▃▄▅▆▇█";

/** Runs the command; returns the exit code. */
export async function dataCommand(path: string, options: DataCommandOptions): Promise<number> {
  const { size, crop, background, grid, json, strict } = options;
  if (grid !== undefined && !grid.toLowerCase().endsWith(".png")) {
    throw new UsageError(`--grid: expected FILE.png, found ${grid}`);
  }
  using interruption = listenForInterruption((line) => console.error(line));
  const { signal } = interruption;
  const progress = decodingProgress((line) => console.error(line));
  using data = await openDataset(path, { ...size, crop, background, signal, progress });
  const parts = { training: summarise(data.train), heldout: data.heldout && summarise(data.heldout) };
  if (json === true) console.log(JSON.stringify(jsonOf(path, data, parts)));
  else for (const line of linesOf(data, parts)) console.log(line);
  if (grid !== undefined) {
    await writeGrid(grid, data.train);
    if (json !== true) console.log(`the first images: ${grid}`);
  }
  if (size !== undefined && (data.train.height !== size.height || data.train.width !== size.width)) {
    const { height, width } = data.train;
    throw new DataError(`--size: expected images of ${size.height}×${size.width}, found ${height}×${width} in ${path}`);
  }
  if (strict === true && data.unusable.length > 0) {
    throw new DataError(
      `--strict: expected every file of ${path} to be usable, found ${data.unusable.length} that are not`,
    );
  }
  return 0;
}

interface Parts {
  readonly training: Summary;
  readonly heldout: Summary | undefined;
}

function jsonOf(path: string, { format, description, unusable }: OpenedDataset, parts: Parts): Record<string, unknown> {
  return { path, format, description, ...parts, unusable };
}

function linesOf({ format, description, unusable }: OpenedDataset, { training, heldout }: Parts): string[] {
  const lines = [`${format}: ${description}`, ...summaryLines("training", training)];
  if (heldout !== undefined) lines.push(...summaryLines("held out", heldout));
  lines.push(`files that can't be used: ${unusable.length === 0 ? "none" : unusable.length}`);
  for (const { path, reason } of unusable) lines.push(`  ${path}: ${reason}`);
  return lines;
}

function summaryLines(name: string, summary: Summary): string[] {
  const { count, height, width, channels, levels, mean, range } = summary;
  return [
    `${name}: ${count.toLocaleString("en-US")} images of ${height}×${width}×${channels}, ${levels} levels; ` +
    `values ${range[0]} to ${range[1]}, mean ${mean.toFixed(1)}`,
    `  0 ${barsOf(summary.histogram)} ${levels - 1}`,
  ];
}

/** A histogram in one line of text. */
function barsOf(histogram: readonly number[]): string {
  const bars = new Array<number>(Math.min(BARS, histogram.length)).fill(0);
  histogram.forEach((count, level) => {
    const bar = Math.floor(level * bars.length / histogram.length);
    bars[bar] = (bars[bar] ?? 0) + count;
  });
  const most = Math.max(...bars);
  // What occurs at all can be seen.
  return bars.map((count) => BLOCKS[Math.ceil(count / most * (BLOCKS.length - 1))]).join("");
}

async function writeGrid(path: string, dataset: Dataset): Promise<void> {
  const count = Math.min(GRID_IMAGES, dataset.count);
  const elements = imageElements(dataset);
  const images = new Float32Array(count * elements);
  for (let i = 0; i < count; i++) dataset.read(i, images, i * elements);
  const { height, width, channels } = dataset;
  await writePng(path, imageGrid([{ images, count, height, width, channels }]));
}
