/** `coopflow train`. */
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CancelledError, CoopFlowError, UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { checkDataset } from "../coopflow/inference.ts";
import { RunDirectory } from "../coopflow/run_directory.ts";
import { train } from "../coopflow/trainer.ts";
import type { Split } from "../data/dataset.ts";
import { openDataset } from "../data/open.ts";
import { buildInfo } from "../runtime/device.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import { configFrom, type ConfigOptions } from "./config_source.ts";
import { builtIn } from "./data_source.ts";
import { listenForInterruption } from "./interruption.ts";
import { createPrinter } from "./progress.ts";

/** The options of the command. */
export interface TrainCommandOptions extends ConfigOptions {
  readonly data?: string;
  readonly out?: string;
  readonly resume?: string;
  readonly device?: "auto" | "cpu";
  readonly threads?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

interface Job {
  readonly run: RunDirectory;
  readonly config: CoopFlowConfig;
  readonly data: Split;
  readonly dataPath: string | null;
}

/** Runs the command; returns the exit code. */
export async function trainCommand(options: Partial<TrainCommandOptions>): Promise<number> {
  const given: TrainCommandOptions = { ...options, set: options.set ?? [] };
  if (given.json && given.quiet) throw new UsageError("expected --json or --quiet, found both");
  const printer = createPrinter(given);
  using interruption = listenForInterruption((line) => printer.notice(line));
  const job = given.resume === undefined ? await startRun(given) : await openRun(given.resume, given);
  await using run = job.run;
  printer.notice(`run directory: ${run.path}`);
  const { device, threads } = given;
  try {
    const events = train({
      ...job,
      signal: interruption.signal,
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
    });
    for await (const event of events) printer.event(event);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    throw new CancelledError(`interrupted; go on with --resume ${run.path}`, { cause: error });
  } finally {
    printer.close();
  }
  return 0;
}

async function startRun(options: TrainCommandOptions): Promise<Job> {
  const { config, name } = await configFrom(options);
  const dataPath = options.data === undefined ? null : resolve(options.data);
  const data = await openData(dataPath, config, options.data);
  buildInfo(); // a library that can't be used is told of before a folder is made
  const path = options.out ?? await freeFolder(name);
  return { run: await RunDirectory.create(path, config), config, data, dataPath };
}

/** Opens the data and checks that it is what the configuration says, before anything is written. */
async function openData(path: string | null, config: CoopFlowConfig, shown?: string): Promise<Split> {
  const data = path === null ? await builtIn(config) : await openDataset(shown ?? path);
  for (const part of [data.train, data.heldout]) if (part !== undefined) checkDataset(config, part);
  return data;
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

async function openRun(path: string, options: TrainCommandOptions): Promise<Job> {
  for (const name of ["preset", "config", "batch", "seed", "out"] as const) {
    if (options[name] !== undefined) {
      throw new UsageError(`--${name}: expected nothing that changes the run with --resume, found ${options[name]}`);
    }
  }
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
    const recorded = (await run.readEnvironment())?.data;
    const dataPath = options.data === undefined ? recorded ?? null : resolve(options.data);
    return { run, config, data: await openData(dataPath, config), dataPath };
  } catch (error) {
    await run.close();
    throw error;
  }
}
