/** `coopflow diagnose`. */
import { stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { UsageError } from "../errors.ts";
import type { ChainDiagnostics, LayerMoments } from "../coopflow/diagnose.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import { writePng } from "../io/png.ts";
import { imageGrid } from "../metrics/grid.ts";
import { readImages } from "../data/dataset.ts";
import { givenImages, usedImages } from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";
import { type Learning, learningOf } from "./learning.ts";
import { findConfig } from "./checkpoint_source.ts";
import { openModel } from "./model_source.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { expectWritable } from "./output.ts";
import { Rate } from "./rate.ts";
import { textTable } from "./text_table.ts";

/** The options of the command. */
export interface DiagnoseCommandOptions extends DeviceFlags {
  readonly data?: string;
  readonly count?: number;
  readonly chains?: number;
  readonly steps?: number;
  readonly out?: string;
  readonly seed?: number;
  readonly liveParameters?: boolean;
  readonly json?: boolean;
}

/** Images whose gradients are averaged if there are more. */
const MOST_IMAGES = 1500;
/** Chains in a picture, and states of each. */
const ROWS = 8;
const COLUMNS = 21;
/** An energy that is so many of the data's standard deviations from the data's mean has drifted. */
const DRIFT = 3;
/** Differences of so many times what chance makes are told of. */
const NOTABLE = 2;

/** What was measured. */
interface Diagnosis {
  readonly iteration: number;
  readonly images: number;
  readonly moments: readonly LayerMoments[];
  readonly learning: readonly Learning[] | undefined;
  /** f of the images. */
  readonly data: { readonly mean: number; readonly deviation: number };
  readonly chain: ChainDiagnostics;
  /** T of the configuration. */
  readonly shortRun: number;
}

/** Runs the command; returns the exit code. */
export async function diagnoseCommand(run: string, options: DiagnoseCommandOptions): Promise<number> {
  const { data: path, count, chains = 64, steps = 2000, out, seed, liveParameters = false, json } = options;
  if (out !== undefined && extname(out).toLowerCase() !== ".png") {
    throw new UsageError(`--out: expected FILE.png, found ${out}`);
  }
  using interruption = listenForInterruption((line) => console.error(line));
  const config = await findConfig(run);
  using given = await givenImages(config, path, "train");
  const used = usedImages(given.data, count ?? Math.min(MOST_IMAGES, given.data.count));
  if (used < 2) throw new UsageError(`--count: expected at least 2 images, found ${used}`);
  const learning = (await stat(run)).isDirectory() ? await learningOf(join(run, "metrics.jsonl")) : undefined;
  if (out !== undefined) await expectWritable(out);
  await using model = await openModel(run, deviceOptions(options), (line) => console.error(line));
  const how = { seed: seed ?? model.config.seed, liveParameters, signal: interruption.signal };
  const data = readImages(given.data, 0, used);
  const moments = await model.momentMatching(data, (await model.sample(used, how)).images, how);
  const { energies } = await model.density(data, how);
  using rate = new Rate("Langevin steps");
  const chain = await model.chain(chains, {
    ...how,
    steps,
    shown: out === undefined ? 0 : ROWS,
    onStep: (done, total) => rate.update(done, total),
  });
  const diagnosis: Diagnosis = {
    iteration: model.counters.iteration,
    images: used,
    moments,
    learning,
    data: spread(energies),
    chain,
    shortRun: model.config.langevin.steps,
  };
  if (out !== undefined) await writeStates(out, model, chain);
  if (json === true) console.log(JSON.stringify(jsonOf(diagnosis)));
  else for (const line of linesOf(diagnosis)) console.log(line);
  return 0;
}

function spread(values: Float32Array): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance) };
}

/** Steps worth a row: 0, 1, 2, 5, 10, 20, 50, …, T and the last. */
function rowsOf({ chain: { steps }, shortRun }: Diagnosis): number[] {
  const rows = new Set([0, steps, ...(shortRun <= steps ? [shortRun] : [])]);
  for (let power = 1; power <= steps; power *= 10) {
    for (const factor of [1, 2, 5]) if (factor * power < steps) rows.add(factor * power);
  }
  return [...rows].sort((a, b) => a - b);
}

/** Standard deviations of the data's f between the data's mean and the chains' after `step` steps. */
function away({ data, chain }: Diagnosis, step: number): number {
  return (chain.energy[step]! - data.mean) / data.deviation;
}

function chainRow({ chain }: Diagnosis, step: number): Record<string, number> {
  return {
    step,
    energy: chain.energy[step]!,
    energyDeviation: chain.energyDeviation[step]!,
    gradientNorm: chain.gradientNorm[step]!,
    clampedMoves: chain.clampedMoves[step]!,
    clampedPixels: chain.clampedPixels[step]!,
    ...(chain.acceptance === undefined ? {} : { acceptance: chain.acceptance[step]! }),
    distance: chain.distance[step]!,
  };
}

function jsonOf(diagnosis: Diagnosis): Record<string, unknown> {
  const { iteration, images, moments, learning, data, chain, shortRun } = diagnosis;
  return {
    iteration,
    images,
    moments,
    learning: learning ?? null,
    data,
    chain: {
      count: chain.count,
      steps: chain.steps,
      shortRun,
      drifts: Math.abs(away(diagnosis, chain.steps)) > DRIFT,
      rows: rowsOf(diagnosis).map((step) => chainRow(diagnosis, step)),
    },
  };
}

function linesOf(diagnosis: Diagnosis): string[] {
  return [...momentLines(diagnosis), "", ...learningLines(diagnosis), "", ...chainLines(diagnosis)];
}

function momentLines({ moments, images }: Diagnosis): string[] {
  const rows = moments.map(({ layer, data, synthesised, difference, chance, cosine }) => [
    layer,
    ...[data, synthesised, difference, chance].map((norm) => norm.toPrecision(3)),
    cosine.toFixed(4),
  ]);
  const worst = moments.reduce((a, b) => b.difference / b.chance > a.difference / a.chance ? b : a);
  const times = worst.difference / worst.chance;
  const share = (100 * worst.difference / Math.max(worst.data, worst.synthesised)).toPrecision(2);
  const verdict = times <= NOTABLE
    ? `the moments match as far as ${images} images can tell`
    : `the moments differ most in ${worst.layer}: by ${share} %, ${times.toFixed(1)} times what chance makes`;
  return [
    `moments: norms of the mean gradient ∂f/∂θ over ${images} data and as many revised images`,
    ...textTable(["", "data", "revised", "difference", "by chance", "cosine"], rows),
    verdict,
  ];
}

function learningLines({ learning }: Diagnosis): string[] {
  const title = "learning: how far the chain moves proposals (root mean square), and f";
  if (learning === undefined || learning.length === 0) return [`${title}: not known without a run's metrics.jsonl`];
  const rows = learning.map(({ from, to, change, fProposal, fRevised, fData }) => [
    from === to ? String(from) : `${from} to ${to}`,
    change.toFixed(4),
    ...[fProposal, fRevised, fData].map((f) => f.toFixed(3)),
  ]);
  const [first, last] = [learning[0]!, learning.at(-1)!];
  return [
    title,
    ...textTable(["iterations", "change", "f proposals", "f revised", "f data"], rows),
    `the chain moved proposals by ${first.change.toFixed(3)} at first and by ${last.change.toFixed(3)} in the end`,
  ];
}

function chainLines(diagnosis: Diagnosis): string[] {
  const { chain, data, shortRun } = diagnosis;
  const { acceptance } = chain;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const rows = rowsOf(diagnosis).map((step) => [
    `${step}${step === shortRun ? " = T" : ""}`,
    `${chain.energy[step]!.toFixed(3)} ± ${chain.energyDeviation[step]!.toFixed(3)}`,
    chain.gradientNorm[step]!.toPrecision(3),
    percent(chain.clampedMoves[step]!),
    percent(chain.clampedPixels[step]!),
    ...(acceptance === undefined ? [] : [percent(acceptance[step]!)]),
    chain.distance[step]!.toFixed(4),
  ]);
  const range = acceptance === undefined ? ["pixels clamped"] : ["pixels reflected", "accepted"];
  const heads = ["step", "f", "‖∇f‖", "moves clamped", ...range, "from proposal"];
  const half = Math.floor(chain.steps / 2);
  const moved = chain.distance[chain.steps]! - chain.distance[half]!;
  const far = away(diagnosis, chain.steps);
  const side = far < 0 ? "below" : "above";
  return [
    `chain: means over ${chain.count} chains; f of the data ${data.mean.toFixed(3)} ± ${data.deviation.toFixed(3)}`,
    ...textTable(heads, rows),
    `after ${chain.steps.toLocaleString("en-US")} steps the chains ${
      Math.abs(far) > DRIFT ? "have drifted" : "stay"
    }: f is ` +
    `${
      Math.abs(far).toFixed(1)
    } standard deviations of the data's ${side} the data's mean; the second half of the steps moved the images by ` +
    `${moved.toFixed(3)} more from their proposals`,
  ];
}

/** Rows of chains, columns of states. */
async function writeStates(path: string, model: CoopFlow, { states }: ChainDiagnostics): Promise<void> {
  const { height, width, channels } = model.config.data;
  const size = height * width * channels;
  const columns = Math.min(COLUMNS, states.length);
  const shown = Array.from(
    { length: columns },
    (_, k) => states[columns === 1 ? 0 : Math.round(k * (states.length - 1) / (columns - 1))]!.images,
  );
  const rows = shown[0]!.length / size;
  const images = new Float32Array(rows * columns * size);
  shown.forEach((state, k) => {
    for (let i = 0; i < rows; i++) images.set(state.subarray(i * size, (i + 1) * size), (i * columns + k) * size);
  });
  await writePng(path, imageGrid([{ height, width, channels, images, count: rows * columns }], { columns }));
}
