/** The best checkpoint of a run by what is measured on held-out images, and when there is no hope of a better one. */
import { join } from "node:path";
import { ConfigError, UsageError } from "../errors.ts";
import type { Split } from "../data/dataset.ts";
import { readAll } from "../data/dataset.ts";
import { appendJsonLine, cutJsonLines } from "../io/json_lines.ts";
import { pixelFrechetDistance, pixelMomentsOf } from "../metrics/pixel_frechet.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { MeasurementEvent } from "./events.ts";
import { bestOf, type Measurement, measurementsPath, readMeasurements } from "./measurements.ts";
import type { CoopFlow } from "./model.ts";
import { isMeasurable } from "./report.ts";
import type { RunDirectory } from "./run_directory.ts";

/** Keeps `checkpoints/best.safetensors` and `measurements.jsonl` of a run. */
export class BestKeeper {
  readonly #run: RunDirectory;
  readonly #settings: CoopFlowConfig["training"]["best"];
  readonly #data: Split;
  #measured: readonly Measurement[] = [];

  private constructor(run: RunDirectory, config: CoopFlowConfig, data: Split) {
    this.#run = run;
    this.#settings = config.training.best;
    this.#data = data;
  }

  /**
   * Takes up what was measured up to `iteration`; later measurements are taken back.
   *
   * @throws {ConfigError} if the data can't be measured as the configuration says
   */
  static async open(run: RunDirectory, config: CoopFlowConfig, data: Split, iteration: number): Promise<BestKeeper> {
    const keeper = new BestKeeper(run, config, data);
    const { metric } = config.training.best;
    if (metric === "off") return keeper;
    if (data.heldout === undefined) {
      throw new ConfigError("training.best.metric", `expected off for data without held-out images, found ${metric}`);
    }
    if (metric === "frechet" && !isMeasurable(data.heldout)) {
      throw new ConfigError("training.best.metric", "expected off or bitsPerDim for images this large, found frechet");
    }
    await cutJsonLines(measurementsPath(run.path), iteration);
    keeper.#measured = (await readMeasurements(run.path)).filter((found) => found.metric === metric);
    return keeper;
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
    if (metric === "off") throw new UsageError("training.best.metric: expected frechet or bitsPerDim, found off");
    const value = await this.#valueOf(model, signal);
    const isBest = value < (bestOf(this.#measured)?.value ?? Infinity);
    // First the checkpoint: measurements tell of nothing that is not there.
    if (isBest) await model.save(join(this.#run.path, "checkpoints", "best.safetensors"));
    await appendJsonLine(measurementsPath(this.#run.path), { iteration, metric, value });
    this.#measured = [...this.#measured, { iteration, metric, value }];
    return { type: "measurement", iteration, metric, value, isBest };
  }

  async #valueOf(model: CoopFlow, signal: AbortSignal | undefined): Promise<number> {
    const { heldout } = this.#data;
    if (heldout === undefined) return NaN;
    const cancel = signal === undefined ? {} : { signal };
    const { metric, images: count } = this.#settings;
    if (metric === "frechet") {
      const { images } = await model.sample(count, cancel);
      return pixelFrechetDistance(images, count, pixelMomentsOf(heldout));
    }
    const { bitsPerDim } = await model.density(readAll(heldout), cancel);
    return bitsPerDim.reduce((sum, bits) => sum + bits, 0) / bitsPerDim.length;
  }
}
