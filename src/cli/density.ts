/** `coopflow density`. */
import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import type { Densities, DensityOptions } from "../coopflow/density.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import { type Dataset, readImages } from "../data/dataset.ts";
import { invertedImages, uniformNoise } from "../data/derived.ts";
import { writeAtomic } from "../io/atomic.ts";
import { auroc } from "../metrics/auroc.ts";
import { type GivenImages, givenImages, usedImages } from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";
import { findConfig } from "./checkpoint_source.ts";
import { openModel } from "./model_source.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { expectWritable } from "./output.ts";
import { Rate } from "./rate.ts";
import { textTable } from "./text_table.ts";

/** The options of the command. */
export interface DensityCommandOptions extends DeviceFlags {
  readonly data?: string;
  readonly count?: number;
  readonly draws?: number;
  readonly against?: readonly string[];
  readonly out?: string;
  readonly seed?: number;
  readonly liveParameters?: boolean;
  readonly json?: boolean;
}

/** Batches that are scored between two looks at the clock. */
const BATCHES = 4;

/** Images and their scores. */
interface Scored extends Densities {
  readonly name: string;
}

/** Runs the command; returns the exit code. */
export async function densityCommand(run: string, options: DensityCommandOptions): Promise<number> {
  const { data, count, draws = 1, against = [], out, seed, liveParameters = false, json } = options;
  if (out !== undefined && extname(out).toLowerCase() !== ".csv") {
    throw new UsageError(`--out: expected FILE.csv, found ${out}`);
  }
  using interruption = listenForInterruption((line) => console.error(line));
  const config = await findConfig(run);
  using given = await givenImages(config, data);
  const used = usedImages(given.data, count);
  using others = new DisposableStack();
  const sets: { data: Dataset; count: number }[] = [{ data: given.data, count: used }];
  for (const name of against) {
    const other = others.use(await otherImages(config, name, given.data));
    sets.push({ data: other.data, count: Math.min(used, other.data.count) });
  }
  if (out !== undefined) await expectWritable(out);
  await using model = await openModel(run, deviceOptions(options), (line) => console.error(line));
  const how: DensityOptions = { draws, seed: seed ?? model.config.seed, liveParameters, signal: interruption.signal };
  const scored: Scored[] = [];
  for (const { data, count } of sets) scored.push(await score(model, data, count, how));
  if (out !== undefined) await writeScores(out, scored);
  if (json === true) console.log(JSON.stringify(jsonOf(scored, draws, model.counters.iteration)));
  else for (const line of linesOf(scored, draws)) console.log(line);
  return 0;
}

async function otherImages(
  config: CoopFlowConfig,
  name: string,
  data: Dataset,
): Promise<Pick<GivenImages, "data"> & Disposable> {
  const made = name === "noise" ? uniformNoise(data) : name === "inverted" ? invertedImages(data) : undefined;
  if (made !== undefined) return { data: made, [Symbol.dispose]: () => {} };
  return await givenImages(config, name);
}

/** Scores part after part, so that a data set need not fit in memory. */
async function score(model: CoopFlow, data: Dataset, count: number, how: DensityOptions): Promise<Scored> {
  const all = {
    bitsPerDim: new Float32Array(count),
    oneDrawBitsPerDim: new Float32Array(count),
    energies: new Float32Array(count),
  };
  const step = BATCHES * model.config.training.batch;
  using rate = new Rate(data.name);
  for (let first = 0; first < count; first += step) {
    const n = Math.min(step, count - first);
    const part = await model.density(readImages(data, first, n), { ...how, first });
    all.bitsPerDim.set(part.bitsPerDim, first);
    all.oneDrawBitsPerDim.set(part.oneDrawBitsPerDim, first);
    all.energies.set(part.energies, first);
    rate.update(first + n, count);
  }
  return { name: data.name, ...all };
}

/** How well the scores tell `other` from `inside`: a surprising image has more bits/dim and a lower f. */
function told(inside: Densities, other: Densities): { bitsPerDim: number; energy: number } {
  return {
    bitsPerDim: auroc(other.bitsPerDim, inside.bitsPerDim),
    energy: auroc(inside.energies, other.energies),
  };
}

function summary(values: Float32Array): { mean: number; deviation: number; least: number; most: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  // A loop, as the arguments of a call are limited.
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return { mean, deviation: Math.sqrt(variance), least, most };
}

function jsonOf([inside, ...others]: readonly Scored[], draws: number, iteration: number): Record<string, unknown> {
  const of = ({ name, bitsPerDim, oneDrawBitsPerDim, energies }: Scored): Record<string, unknown> => ({
    name,
    count: energies.length,
    bitsPerDim: summary(bitsPerDim),
    oneDrawBitsPerDim: summary(oneDrawBitsPerDim),
    energy: summary(energies),
  });
  return {
    iteration,
    draws,
    ...of(inside!),
    against: others.map((other) => ({ ...of(other), auroc: told(inside!, other) })),
  };
}

function linesOf(scored: readonly Scored[], draws: number): string[] {
  const [inside, ...others] = scored;
  const shown = (values: Float32Array): string => {
    const { mean, deviation } = summary(values);
    return `${mean.toFixed(3)} ± ${deviation.toFixed(3)}`;
  };
  const rows = scored.map((set) => [
    set.name,
    String(set.energies.length),
    shown(set.bitsPerDim),
    ...(draws > 1 ? [shown(set.oneDrawBitsPerDim)] : []),
    shown(set.energies),
  ]);
  const columns = ["", "images", "bits/dim", ...(draws > 1 ? ["with 1 draw"] : []), "energy f"];
  const lines = textTable(columns, rows);
  if (draws > 1) lines.push(`bits/dim: importance-weighted over ${draws} draws of the dequantization noise`);
  if (others.length === 0) return lines;
  const areas = others.map((other) => {
    const { bitsPerDim, energy } = told(inside!, other);
    return [`told from ${other.name}`, bitsPerDim.toFixed(4), energy.toFixed(4)];
  });
  return [...lines, "", ...textTable(["AUROC", "bits/dim", "energy f"], areas)];
}

/** A line for each image. */
async function writeScores(path: string, scored: readonly Scored[]): Promise<void> {
  const encoder = new TextEncoder();
  await writeAtomic(path, async (file) => {
    await file.write(encoder.encode("images,index,bits_per_dim,one_draw_bits_per_dim,energy\n"));
    for (const { name, bitsPerDim, oneDrawBitsPerDim, energies } of scored) {
      const quoted = `"${name.replaceAll('"', '""')}"`;
      const lines = Array.from(
        energies,
        (f, i) => `${quoted},${i},${bitsPerDim[i]},${oneDrawBitsPerDim[i]},${f}\n`,
      );
      await file.write(encoder.encode(lines.join("")));
    }
  });
}
