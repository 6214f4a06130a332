/** Learning in a run directory: metrics, checkpoints, pictures of samples and a report, so that a run that was killed can go on. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import process from "node:process";
import { CancelledError, CoopFlowError } from "../errors.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import { imageElements } from "../data/dataset.ts";
import { fingerprintOf } from "../data/describe.ts";
import { writeAtomic } from "../io/atomic.ts";
import { encodePng } from "../io/png.ts";
import { imageGrid } from "../metrics/grid.ts";
import { buildInfo, type DeviceOptions, deviceOptions } from "../runtime/device.ts";
import { libraryPath } from "../runtime/library.ts";
import type { CoopFlowConfig } from "./config.ts";
import { BestKeeper } from "./best.ts";
import type { CheckpointEvent, SamplesEvent, TrainEvent } from "./events.ts";
import { checkDataset } from "./inference.ts";
import { CoopFlow, type FitOptions } from "./model.ts";
import { isMeasurable, measure } from "./report.ts";
import type { Reading, RunDirectory, RunEnvironment } from "./run_directory.ts";
import { displayedEvent } from "./notebook.ts";
import { RunLog } from "./run_log.ts";
import { LIBRARY_VERSION } from "./version.ts";

/** What a run needs. */
export interface TrainOptions extends DeviceOptions {
  readonly run: RunDirectory;
  readonly config: CoopFlowConfig;
  readonly data: Split;
  /** Where the data came from, for a later resume; `null`: the built-in digits. */
  readonly dataPath: string | null;
  /** How pictures were read, for a later resume. */
  readonly reading?: Reading;
  /** Images of each kind that the report at the end is made from. Default 1,500. */
  readonly reportImages?: number;
  /** Iterations of this call to measure, as in {@linkcode CoopFlow.fit}. */
  readonly profile?: number;
  /** Ends the run after saving a checkpoint of the last complete iteration. */
  readonly signal?: AbortSignal;
}

/** Most images of one kind in a picture. */
const PICTURE_IMAGES = 64;

/**
 * Learns in a run directory, from its newest checkpoint if it has any; `config` says how far. A run that is already that far does nothing.
 * A run that is killed at any moment and trained again ends with the same bits as one that never was, on the same machine with the same threads.
 *
 * @throws {CancelledError} when the signal is given, after the last complete iteration has been saved
 * @throws {CheckpointError} if there are checkpoints, all of them damaged or of another architecture
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, void, void> {
  for await (const event of learn(options)) yield displayedEvent(event);
}

async function* learn(options: TrainOptions): AsyncGenerator<TrainEvent, void, void> {
  const { run, config, data, signal } = options;
  checkDataset(config, data.train);
  const began = await begin(options);
  await using model = began.model;
  const { iterations } = config.training;
  let saved = began.savedAt;
  for (const message of began.notices) yield { type: "notice", message };
  const best = await BestKeeper.open(run, config, data, {
    iteration: model.counters.iteration,
    threads: model.device.threads,
  });
  const isOver = (): boolean => model.counters.iteration >= iterations || best.isExhausted;
  if (isOver() && model.counters.initialised && await run.has("report.json")) {
    yield { type: "finished", iteration: model.counters.iteration };
    return;
  }
  await run.cutBack(model.counters.iteration);
  const log = await RunLog.open(run, config, model.counters.iteration);
  const save = async (): Promise<CheckpointEvent> => {
    const { iteration } = model.counters;
    const path = run.checkpointPath(iteration);
    await log.flush();
    await model.save(path);
    await run.prune(config.training.keepCheckpoints);
    await log.checkpoint(iteration);
    saved = iteration;
    return { type: "checkpoint", iteration, path };
  };
  const { checkpointEvery, sampleEvery } = config.training;
  try {
    // An interrupted measurement is made up for.
    if (best.isDue(model.counters.iteration)) yield await best.measure(model, signal);
    for await (const event of best.isExhausted ? [] : model.fit(data.train, fitOptions(iterations, options))) {
      // Logged before it is told: whoever listens may stop here.
      if (event.type === "iteration" || event.type === "warning") await log.record(event);
      yield event;
      if (event.type === "set-up" && saved === undefined) yield await save();
      if (event.type !== "iteration") continue;
      const { iteration } = event;
      // Before the checkpoint: a run that goes on from there has the measurement.
      if (best.isDue(iteration)) yield await best.measure(model, signal);
      if (iteration % checkpointEvery === 0 || isOver()) yield await save();
      if (best.isExhausted) {
        yield {
          type: "notice",
          message: `stopped after iteration ${iteration}: no measurement has been better for long`,
        };
        break;
      }
      if (iteration % sampleEvery === 0 && iteration !== iterations) {
        yield await draw(model, run, log, data.train, signal);
      }
    }
    if (iterations > 0) yield await draw(model, run, log, data.train, signal);
    if (data.heldout !== undefined && isMeasurable(data.heldout) && model.counters.initialised) {
      checkDataset(config, data.heldout);
      const report = await measure(model, data.heldout, {
        ...(options.reportImages === undefined ? {} : { count: options.reportImages }),
        ...(signal === undefined ? {} : { signal }),
      });
      await run.writeJson("report.json", report);
      yield { type: "report", report };
    } else await run.writeJson("report.json", { iteration: model.counters.iteration });
    await log.finish(model.counters.iteration);
  } catch (error) {
    if (error instanceof CancelledError && model.counters.initialised && saved !== model.counters.iteration) {
      yield await save();
    }
    await log.stop(model.counters.iteration, error);
    throw error;
  } finally {
    await log.stop(model.counters.iteration);
  }
}

interface Beginning {
  readonly model: CoopFlow;
  readonly notices: readonly string[];
  /** The iteration whose checkpoint is on disk. */
  readonly savedAt: number | undefined;
}

/** The model to go on with, or a fresh one. */
async function begin(options: TrainOptions): Promise<Beginning> {
  const { run, config, data, dataPath, reading } = options;
  const { checkpoint, notices } = await run.newest();
  const before = await run.readEnvironment();
  // The thread count of before, because results are bit-identical only with the same one.
  const threads = options.threads ?? (typeof before?.threads === "number" ? before.threads : undefined);
  const device = deviceOptions({ ...options, ...(threads === undefined ? {} : { threads }) });
  if (checkpoint !== undefined) expectSameModel(run.path, config, checkpoint.config);
  const model = checkpoint === undefined
    ? await CoopFlow.create(config, device)
    : CoopFlow.fromCheckpoint({ ...checkpoint, config }, device);
  try {
    const { threads, isa, precision } = model.device;
    const now: RunEnvironment = {
      data: dataPath,
      ...(reading === undefined ? {} : { reading }),
      images: fingerprintOf(data.train),
      library: LIBRARY_VERSION,
      threads,
      isa,
      device: model.device.device,
      precision,
      native: buildInfo(),
      nativeSha256: createHash("sha256").update(await readFile(libraryPath())).digest("hex"),
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryBytes: totalmem(),
      deno: Deno.version.deno,
      platform: `${process.platform}-${process.arch}`,
    };
    await run.writeJson("environment.json", now);
    const changed = checkpoint === undefined ? [] : changes(before, now);
    return { model, notices: [...notices, ...changed], savedAt: checkpoint?.counters.iteration };
  } catch (error) {
    model.close();
    throw error;
  }
}

function changes(before: RunEnvironment | undefined, now: RunEnvironment): string[] {
  const notices: string[] = [];
  for (const key of ["threads", "isa", "library", "precision"] as const) {
    if (before?.[key] !== undefined && before[key] !== now[key]) {
      notices.push(
        `${key}: ${before[key]} before, ${now[key]} now: the run goes on, but not bit for bit as it would have`,
      );
    }
  }
  if (before?.images !== undefined && before.images !== now.images) {
    notices.push("data: other images than before: the run goes on, but not bit for bit as it would have");
  }
  return notices;
}

/** What a checkpoint's tensors depend on must not have been changed under it. */
function expectSameModel(path: string, config: CoopFlowConfig, found: CoopFlowConfig): void {
  const parts: [string, unknown, unknown][] = [
    ["data", config.data, found.data],
    ["flow", config.flow, found.flow],
    ["energy", config.energy, found.energy],
    ["training.phase", config.training.phase, found.training.phase],
    ["training.chains", config.training.chains, found.training.chains],
    ["training.averaging", config.training.averaging, found.training.averaging],
  ];
  for (const [part, expected, actual] of parts) {
    if (JSON.stringify(expected) === JSON.stringify(actual)) continue;
    throw new CoopFlowError(
      `${path}: ${part}: expected ${JSON.stringify(actual)} as in the run's checkpoint, found ${
        JSON.stringify(expected)
      } ` +
        `in its config.json; put it back, or start another run`,
    );
  }
}

function fitOptions(iterations: number, { signal, profile = 0 }: TrainOptions): FitOptions {
  return { iterations, profile, ...(signal === undefined ? {} : { signal }) };
}

/** Writes the picture data | proposals | revised. */
async function draw(
  model: CoopFlow,
  run: RunDirectory,
  log: RunLog,
  data: Dataset,
  signal: AbortSignal | undefined,
): Promise<SamplesEvent> {
  const { iteration } = model.counters;
  const path = run.picturePath(iteration);
  const count = Math.min(PICTURE_IMAGES, data.count);
  const real = new Float32Array(count * imageElements(data));
  for (let i = 0; i < count; i++) data.read(i, real, i * imageElements(data));
  const { proposals, images } = await model.sample(count, signal === undefined ? {} : { signal });
  const { height, width, channels } = data;
  const panels = [real, proposals, images].map((panel) => ({ images: panel, count, height, width, channels }));
  const grid = imageGrid(panels);
  const png = await encodePng(grid);
  await writeAtomic(path, png);
  await log.samples(iteration, { png, height: grid.height, width: grid.width, proposals, images });
  return { type: "samples", iteration, path };
}
