/** The best checkpoint of a run by what is measured on held-out images, and when there is no hope of a better one. */
import { join } from "node:path";
import { ConfigError, UsageError } from "../errors.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import { readAll } from "../data/dataset.ts";
import { appendJsonLine, cutJsonLines } from "../io/json_lines.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { MeasurementEvent } from "./events.ts";
import { bestOf, type Measurement, measurementsPath, readMeasurements } from "./measurements.ts";
import type { Measured } from "./metric_names.ts";
import type { CoopFlow } from "./model.ts";
import type { RunDirectory } from "./run_directory.ts";
import { SampleDistance } from "./sample_distance.ts";

/** Keeps `checkpoints/best.safetensors` and `measurements.jsonl` of a run. */
export class BestKeeper {
  readonly #run: RunDirectory;
  readonly #settings: CoopFlowConfig["training"]["best"];
  readonly #valueOf: Valuation | undefined;
  #measured: readonly Measurement[];

  private constructor(
    run: RunDirectory,
    { training: { best } }: CoopFlowConfig,
    valueOf: Valuation | undefined,
    measured: readonly Measurement[],
  ) {
    this.#run = run;
    this.#settings = best;
    this.#valueOf = valueOf;
    this.#measured = measured;
  }

  /**
   * Takes up what was measured up to `iteration`; later measurements are taken back.
   *
   * @param threads for feature networks
   * @throws {ConfigError} if the data can't be measured as the configuration says
   * @throws {DataError} if the feature network can't be used
   */
  static async open(
    run: RunDirectory,
    config: CoopFlowConfig,
    data: Split,
    { iteration, threads }: { readonly iteration: number; readonly threads: number },
  ): Promise<BestKeeper> {
    const { metric } = config.training.best;
    if (metric === "off") return new BestKeeper(run, config, undefined, []);
    if (data.heldout === undefined) {
      throw new ConfigError("training.best.metric", `expected off for data without held-out images, found ${metric}`);
    }
    const valueOf = await valuation({ ...config.training.best, metric }, data.heldout, threads);
    await cutJsonLines(measurementsPath(run.path), iteration);
    const measured = (await readMeasurements(run.path)).filter((found) => found.metric === metric);
    return new BestKeeper(run, config, valueOf, measured);
  }

  /** Whether this iteration's model is to be measured, and has not been. */
  isDue(iteration: number): boolean {
    const { metric, every } = this.#settings;
    if (metric === "off" || iteration === 0 || iteration % every !== 0) return false;
    return !this.#measured.some((found) => found.iteration === iteration);
  }

  /** Whether the last measurements, as many as patience lasts, were all worse than one before. */
  get isExhausted(): boolean {
    const { patience } = this.#settings;
    const best = bestOf(this.#measured);
    if (patience === "off" || best === undefined) return false;
    return this.#measured.length - 1 - this.#measured.indexOf(best) >= patience;
  }

  /** Measures the model as it is, and keeps it if there was none as good. */
  async measure(model: CoopFlow, signal: AbortSignal | undefined): Promise<MeasurementEvent> {
    const { iteration } = model.counters;
    const { metric } = this.#settings;
    if (metric === "off" || this.#valueOf === undefined) {
      throw new UsageError("training.best.metric: expected something to measure, found off");
    }
    const value = await this.#valueOf(model, signal);
    const isBest = value < (bestOf(this.#measured)?.value ?? Infinity);
    // First the checkpoint: measurements tell of nothing that is not there.
    if (isBest) await model.save(join(this.#run.path, "checkpoints", "best.safetensors"));
    await appendJsonLine(measurementsPath(this.#run.path), { iteration, metric, value });
    this.#measured = [...this.#measured, { iteration, metric, value }];
    return { type: "measurement", iteration, metric, value, isBest };
  }
}

/** What is measured of a model, less being better. */
type Valuation = (model: CoopFlow, signal: AbortSignal | undefined) => Promise<number>;

async function valuation(
  { metric, features, images }: {
    readonly metric: Measured;
    readonly features: string;
    readonly images: number;
  },
  heldout: Dataset,
  threads: number,
): Promise<Valuation> {
  if (metric === "bitsPerDim") {
    return async (model, signal) => {
      const { bitsPerDim } = await model.density(readAll(heldout), signal === undefined ? {} : { signal });
      return bitsPerDim.reduce((sum, bits) => sum + bits, 0) / bitsPerDim.length;
    };
  }
  const distance = await SampleDistance.open({ metric, features }, heldout, threads);
  return (model, signal) => distance.of(model, images, signal);
}
