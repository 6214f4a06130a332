/** `coopflow train`. */
import { mkdir } from "node:fs/promises";
import { join, parse, resolve } from "node:path";
import { CancelledError, CoopFlowError, UsageError } from "../errors.ts";
import { writeCheckpoint } from "../coopflow/checkpoint.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { checkDataset } from "../coopflow/inference.ts";
import { PRE_PRESETS } from "../coopflow/preset_names.ts";
import { type Reading, RunDirectory } from "../coopflow/run_directory.ts";
import { modelStates } from "../coopflow/states.ts";
import { train } from "../coopflow/trainer.ts";
import { warmStart } from "../coopflow/warm_start.ts";
import type { Split } from "../data/dataset.ts";
import type { OpenOptions } from "../data/open.ts";
import { Device, type DeviceInfo, deviceOptions } from "../runtime/device.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import { configFrom, type ConfigOptions, type NamedConfig } from "./config_source.ts";
import {
  builtIn,
  type ClosableSplit,
  type DataOptions,
  type DataWatch,
  expectNone,
  fitted,
  openData,
  wishes,
} from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";
import { findCheckpoint } from "./checkpoint_source.ts";
import { type DeviceFlags, PROFILED_ITERATIONS } from "./options.ts";
import { measurePeaks } from "./profile/peaks.ts";
import { reportProfile } from "./profile/report.ts";
import { createPrinter } from "./progress.ts";

/** The options of the command. */
export interface TrainCommandOptions extends ConfigOptions, DataOptions, DeviceFlags {
  readonly data?: string;
  readonly out?: string;
  readonly resume?: string;
  /** A run or checkpoint whose networks to begin with. */
  readonly init?: string;
  /** A file for the trace, or `true` for `trace.json` in the run directory. */
  readonly profile?: boolean | string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

interface Job {
  readonly run: RunDirectory;
  readonly config: CoopFlowConfig;
  readonly data: ClosableSplit;
  readonly dataPath: string | null;
  readonly reading: Reading;
}

/** Runs the command; returns the exit code. */
export async function trainCommand(options: Partial<TrainCommandOptions>): Promise<number> {
  const given: TrainCommandOptions = { ...options, set: options.set ?? [] };
  if (given.json && given.quiet) throw new UsageError("expected --json or --quiet, found both");
  const printer = createPrinter(given);
  using interruption = listenForInterruption((line) => printer.notice(line));
  const watch = { signal: interruption.signal, say: (line: string) => printer.notice(line) };
  const job = given.resume === undefined ? await startRun(given, watch) : await openRun(given.resume, given, watch);
  await using run = job.run;
  printer.notice(`run directory: ${run.path}`);
  try {
    const events = train({
      ...job,
      signal: interruption.signal,
      ...deviceOptions(given),
      ...(given.profile ? { profile: PROFILED_ITERATIONS } : {}),
    });
    const path = typeof given.profile === "string" ? given.profile : join(run.path, "trace.json");
    let used: DeviceInfo | undefined, measured = !given.profile;
    for await (const event of events) {
      printer.event(event);
      if (event.type === "set-up") used = event.device;
      if (event.type !== "profile" || used === undefined) continue;
      const { profile, iterations } = event;
      const runs = iterations * job.config.training.accumulate;
      const peaks = await measurePeaks(deviceOptions(given), used);
      await reportProfile({ profile, runs, peaks, title: `${run.path}, ${used.detail}`, path });
      measured = true;
    }
    if (!measured) printer.notice("--profile: no iteration was left to measure");
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    throw new CancelledError(`interrupted; go on with --resume ${run.path}`, { cause: error });
  } finally {
    printer.close();
    job.data.close?.();
  }
  return 0;
}

async function startRun(options: TrainCommandOptions, watch: DataWatch): Promise<Job> {
  const named = await configFrom(options);
  if (options.preset !== undefined && PRE_PRESETS.has(options.preset) && options.init === undefined) {
    watch.say(`${options.preset}: expected the trained flow of another run by --init RUN, found none; beginning anew`);
  }
  const { data: path, crop, background } = options;
  if (path === undefined) {
    const { size, strict } = options;
    expectNone({ size, crop, background, strict }, "expected --data with it, found none");
  }
  const data: ClosableSplit = path === undefined
    ? await builtIn(named.config)
    : await openData(path, wishes(named, options), watch);
  try {
    const config = path === undefined ? named.config : fitted(named, options.size, data.train);
    checkSplit(config, data);
    // A library or device that can't be used is told of before a folder is made.
    Device.open({ precision: config.compute.precision, ...deviceOptions(options) }).close();
    const begun = options.init === undefined
      ? undefined
      : warmStart(config, await findCheckpoint(options.init, (line) => watch.say?.(line)));
    const folder = options.out ?? await freeFolder(nameOf(named, options));
    const run = await RunDirectory.create(folder, config, async (fresh) => {
      if (begun === undefined) return;
      const valueOf = ({ name }: { name: string }): Float32Array => begun.values.get(name) ?? new Float32Array();
      await writeCheckpoint(fresh.checkpointPath(0), begun, modelStates(config).all, valueOf);
    });
    return { run, config, data, dataPath: path === undefined ? null : resolve(path), reading: { crop, background } };
  } catch (error) {
    data.close?.();
    throw error;
  }
}

/** Runs are named after their configuration, or else after their data. */
function nameOf({ name }: NamedConfig, { preset, config, data }: TrainCommandOptions): string {
  if (data === undefined || preset !== undefined || config !== undefined) return name;
  return parse(resolve(data)).name.replaceAll(/[^\w.-]+/g, "_") || name;
}

/** Checks that the data are what the configuration says, before anything is written. */
function checkSplit(config: CoopFlowConfig, data: Split): void {
  for (const part of [data.train, data.heldout]) if (part !== undefined) checkDataset(config, part);
}

/** `runs/NAME-N` with the first number that is free. */
async function freeFolder(name: string): Promise<string> {
  try {
    await mkdir("runs", { recursive: true });
    for (let n = 1;; n++) {
      const path = join("runs", `${name}-${n}`);
      try {
        await mkdir(path);
        return path;
      } catch (error) {
        if (systemCode(error) !== "EEXIST") throw error;
      }
    }
  } catch (error) {
    throw new CoopFlowError(`cannot write runs: ${systemReason(error)}; choose a folder with --out`, { cause: error });
  }
}

async function openRun(path: string, options: TrainCommandOptions, watch: DataWatch): Promise<Job> {
  for (const name of ["preset", "config", "phase", "init", "batch", "seed", "out"] as const) {
    if (options[name] !== undefined) {
      throw new UsageError(`--${name}: expected nothing that changes the run with --resume, found ${options[name]}`);
    }
  }
  const { size, crop, background, flip } = options;
  expectNone({ size, crop, background, flip }, "expected nothing that changes the run with --resume, found it");
  if (options.set.length > 0) {
    throw new UsageError(`--set: expected nothing that changes the run with --resume, found ${options.set[0]}`);
  }
  const opened = await RunDirectory.open(path);
  const { run } = opened;
  try {
    let { config } = opened;
    const { iterations } = options;
    if (iterations !== undefined && iterations !== config.training.iterations) {
      config = { ...config, training: { ...config.training, iterations } };
      await run.writeConfig(config);
    }
    const before = await run.readEnvironment();
    const reading = before?.reading ?? {};
    const dataPath = options.data === undefined ? before?.data ?? null : resolve(options.data);
    const data = await reopen(dataPath, config, { ...reading, strict: options.strict }, watch);
    return { run, config, data, dataPath, reading };
  } catch (error) {
    await run.close();
    throw error;
  }
}

async function reopen(
  path: string | null,
  config: CoopFlowConfig,
  options: OpenOptions,
  watch: DataWatch,
): Promise<ClosableSplit> {
  const { height, width, channels, levels } = config.data;
  const data: ClosableSplit = path === null
    ? await builtIn(config)
    : await openData(path, { height, width, channels, levels, ...options }, watch);
  try {
    checkSplit(config, data);
    return data;
  } catch (error) {
    data.close?.();
    throw error;
  }
}
