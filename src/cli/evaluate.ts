/** `coopflow evaluate`. */
import { stat } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { evaluate, type Evaluation } from "../coopflow/evaluation.ts";
import { DigitFeatures } from "../coopflow/digit_features.ts";
import { evaluationPage } from "../coopflow/evaluation_page.ts";
import { type Metric, METRICS } from "../coopflow/metric_names.ts";
import { type Dataset, subset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { writeAtomic } from "../io/atomic.ts";
import { writePng } from "../io/png.ts";
import type { FeatureExtractor } from "../metrics/extractors.ts";
import { imageGrid } from "../metrics/grid.ts";
import { OnnxFeatures, type ValueRange } from "../metrics/onnx_features.ts";
import { readStatistics, writeStatistics } from "../metrics/statistics_file.ts";
import { givenImages, usedImages } from "./data_source.ts";
import { evaluationLines, jsonOfEvaluation } from "./evaluation_text.ts";
import { listenForInterruption } from "./interruption.ts";
import { findCheckpoint, findConfig, withSteps } from "./checkpoint_source.ts";
import { modelOf } from "./model_source.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { expectWritable } from "./output.ts";
import { Rate } from "./rate.ts";

/** The options of the command. */
export interface EvaluateCommandOptions extends DeviceFlags {
  readonly data?: string;
  readonly real?: number;
  readonly count?: number;
  readonly steps?: number;
  readonly metrics?: readonly Metric[];
  readonly features?: readonly string[];
  readonly valueRange?: ValueRange;
  readonly statistics?: string;
  readonly saveStatistics?: string;
  readonly report?: string;
  readonly out?: string;
  readonly seed?: number;
  readonly liveParameters?: boolean;
  readonly json?: boolean;
}

/** Runs the command; returns the exit code. */
export async function evaluateCommand(run: string, options: EvaluateCommandOptions): Promise<number> {
  const { data, real, count, metrics = METRICS, statistics, seed, liveParameters = false, json } = options;
  const out = options.out ?? await besides(run);
  if (extname(out).toLowerCase() !== ".json") throw new UsageError(`--out: expected FILE.json, found ${out}`);
  if (options.report !== undefined && extname(options.report).toLowerCase() !== ".html") {
    throw new UsageError(`--report: expected FILE.html, found ${options.report}`);
  }
  const { report, saveStatistics } = options;
  if (saveStatistics !== undefined && !metrics.includes("distances")) {
    throw new UsageError("--save-statistics: expected distances among --metrics, found others only");
  }
  for (const file of [out, report, saveStatistics]) if (file !== undefined) await expectWritable(file);
  using interruption = listenForInterruption((line) => console.error(line));
  const config = await findConfig(run);
  const known = statistics === undefined ? undefined : await readStatistics(statistics);
  using given = await givenImages(config, data);
  const reference = firstPart(given.data, usedImages(given.data, real, "--real"));
  const checkpoint = withSteps(await findCheckpoint(run, (line) => console.error(line)), options.steps);
  await using model = modelOf(checkpoint, deviceOptions(options), (line) => console.error(line));
  await using networks = new AsyncDisposableStack();
  const extractors = await openExtractors(networks, options, reference);
  using rates = new Rates();
  const found = await evaluate(model, reference, {
    metrics,
    extractors,
    seed: seed ?? config.seed,
    liveParameters,
    signal: interruption.signal,
    // Without held-out images it is not known which ones the model has seen.
    ...(given.part === "train" ? {} : { train: given.train }),
    ...(count === undefined ? {} : { count }),
    ...(known === undefined ? {} : { statistics: known }),
    onProgress: (what, done, total) => rates.update(what, done, total),
  });
  rates.close();
  await writeAtomic(out, async (file) => {
    await file.write(new TextEncoder().encode(JSON.stringify(jsonOfEvaluation(found), null, 2) + "\n"));
  });
  const written = [out, ...await writeNearest(found, out)];
  if (report !== undefined) {
    await writeAtomic(report, new TextEncoder().encode(evaluationPage(basename(resolve(run)), found)));
    written.push(report);
  }
  if (saveStatistics !== undefined && found.statistics !== undefined) {
    await writeStatistics(saveStatistics, found.statistics);
    written.push(saveStatistics);
  }
  if (json === true) console.log(JSON.stringify(jsonOfEvaluation(found)));
  else {
    for (const line of evaluationLines(found)) console.log(line);
    console.log(`\nwritten: ${written.join(", ")}`);
  }
  return 0;
}

function firstPart(data: Dataset, count: number): Dataset {
  return count === data.count ? data : subset(data, data.name, Uint32Array.from({ length: count }, (_, i) => i));
}

/** The networks asked for; of the built-in digits, the one that knows them. */
async function openExtractors(
  networks: AsyncDisposableStack,
  { features, valueRange, data, ...options }: EvaluateCommandOptions,
  images: Dataset,
): Promise<FeatureExtractor[]> {
  const named = features ?? [];
  const onnx = named.filter((name) => name !== "digits");
  if (valueRange !== undefined && onnx.length === 0) {
    throw new UsageError("--value-range: expected --features FILE.onnx with it, found none");
  }
  const extractors: FeatureExtractor[] = [];
  for (const name of named.length === 0 && data === undefined ? ["digits"] : named) {
    if (name === "digits") extractors.push(networks.use(await DigitFeatures.open(deviceOptions(options))));
    else {
      const how = valueRange === undefined ? {} : { range: valueRange };
      extractors.push(networks.use(await OnnxFeatures.open(name, images, how)));
    }
  }
  return extractors;
}

/** Where results go if nothing is said: into the run's folder, or beside a checkpoint. */
async function besides(run: string): Promise<string> {
  const isFolder = await stat(run).then((found) => found.isDirectory(), () => false);
  return isFolder ? join(run, "evaluation.json") : `${run.slice(0, run.length - extname(run).length)}-evaluation.json`;
}

/** Pairs side by side: revised images to the left, their nearest training images to the right. */
async function writeNearest({ nearest }: Evaluation, out: string): Promise<string[]> {
  if (nearest === undefined) return [];
  const path = `${out.slice(0, -".json".length)}-nearest.png`;
  const { images, neighbours, count, size } = nearest;
  await writePng(path, imageGrid([{ images, count, ...size }, { images: neighbours, count, ...size }]));
  return [path];
}

/** A line of progress for what is being done at the moment. */
class Rates implements Disposable {
  #what = "";
  #rate: Rate | undefined;

  update(what: string, done: number, total: number): void {
    if (what !== this.#what) {
      this.close();
      this.#what = what;
      this.#rate = new Rate(what);
    }
    this.#rate?.update(done, total);
  }

  close(): void {
    this.#rate?.[Symbol.dispose]();
    this.#rate = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
