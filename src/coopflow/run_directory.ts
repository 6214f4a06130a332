/**
 * A run directory: `config.json` with its `schema.json`, `environment.json`, `state.json`, `metrics.jsonl`, `events.out.tfevents.…`, `samples/`, `checkpoints/`, `report.json`,
 * `report.html` and, while a process works on it, `lock`.
 */
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CheckpointError, CoopFlowError, DataError, UsageError } from "../errors.ts";
import type { OpenOptions } from "../data/open.ts";
import { removeTemporaries, syncFolder, writeAtomic } from "../io/atomic.ts";
import { cutJsonLines } from "../io/json_lines.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import { type Checkpoint, readCheckpoint } from "./checkpoint.ts";
import { configJsonSchema, type CoopFlowConfig, parseConfig } from "./config.ts";
import { acquireLock, type RunLock } from "./run_lock.ts";

const CHECKPOINT = /^iteration_(\d+)\.safetensors$/;
const PICTURE = /^iteration_(\d+)\.png$/;

/** What was done to the pictures of a data set, besides making them the configured size. */
export type Reading = Pick<OpenOptions, "crop" | "background">;

/** What a run was made with, beside its configuration. */
export interface RunEnvironment {
  /** Absolute path of the data; `null`: the built-in digits. */
  readonly data: string | null;
  /** How its pictures were read. */
  readonly reading?: Reading;
  /** Fingerprint of the images. */
  readonly images?: string;
  readonly library: string;
  readonly threads: number;
  readonly isa: string;
  readonly [key: string]: unknown;
}

/** A checkpoint or a picture in a run directory. */
export interface NumberedFile {
  readonly iteration: number;
  readonly path: string;
}

/** The checkpoint to go on from, and what was found on the way. */
export interface Newest {
  readonly checkpoint: Checkpoint | undefined;
  readonly notices: readonly string[];
}

/** A run directory that this process has the lock of. Close it, or declare it with `await using`. */
export class RunDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #lock: RunLock;

  private constructor(path: string, lock: RunLock) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Creates a run directory.
   *
   * @param path a new or empty folder
   * @param fill writes what the run begins with; only then is the folder a run, so that none is ever taken up without it
   * @throws {UsageError} if there is something in it
   * @throws {CoopFlowError} if it can't be written
   */
  static async create(
    path: string,
    config: CoopFlowConfig,
    fill: (run: RunDirectory) => Promise<void> = () => Promise.resolve(),
  ): Promise<RunDirectory> {
    await writing(path, () => mkdir(path, { recursive: true }));
    const found = await writing(path, () => readdir(path));
    if (found.length > 0) {
      throw new UsageError(
        found.includes("config.json")
          ? `${path}: expected a new or empty folder, found a run; go on with it by --resume ${path}, or choose another folder`
          : `${path}: expected a new or empty folder, found ${found.length} entries; choose another folder`,
      );
    }
    const run = new RunDirectory(path, await acquireLock(join(path, "lock")));
    try {
      for (const folder of ["samples", "checkpoints"]) await writing(path, () => mkdir(join(path, folder)));
      await run.writeJson("schema.json", configJsonSchema());
      await fill(run);
      await run.writeConfig(config);
      await syncFolder(dirname(resolve(path)));
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  /**
   * Opens a run directory to go on with it.
   *
   * @throws {CoopFlowError} if there is no run, or another process works on it
   */
  static async open(path: string): Promise<{ run: RunDirectory; config: CoopFlowConfig }> {
    const config = await readRunConfig(path);
    const run = new RunDirectory(path, await acquireLock(join(path, "lock")));
    try {
      for (const folder of ["samples", "checkpoints"]) {
        await writing(path, () => mkdir(join(path, folder), { recursive: true }));
        await removeTemporaries(join(path, folder));
      }
      await removeTemporaries(path);
      return { run, config };
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  /** `metrics.jsonl`. */
  get metricsPath(): string {
    return join(this.path, "metrics.jsonl");
  }

  /** Where the checkpoint of an iteration is written. */
  checkpointPath(iteration: number): string {
    return join(this.path, "checkpoints", `iteration_${iteration}.safetensors`);
  }

  /** Where the picture of an iteration is written. */
  picturePath(iteration: number): string {
    return join(this.path, "samples", `iteration_${iteration}.png`);
  }

  /** Writes `config.json`. */
  async writeConfig(config: CoopFlowConfig): Promise<void> {
    await this.writeJson("config.json", { $schema: "./schema.json", ...config });
  }

  /** Writes a JSON file atomically. */
  async writeJson(name: string, value: unknown): Promise<void> {
    await writeAtomic(join(this.path, name), new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n"));
  }

  /** `environment.json`, if it is there and readable. */
  async readEnvironment(): Promise<RunEnvironment | undefined> {
    return await readJson(join(this.path, "environment.json")).then((v) => v as RunEnvironment, () => undefined);
  }

  /** Whether a file of this name is there. */
  async has(name: string): Promise<boolean> {
    return await stat(join(this.path, name)).then(() => true, () => false);
  }

  /**
   * The newest checkpoint that can be used; none if the run ended before it wrote one.
   *
   * @throws {CheckpointError} if there are checkpoints, all of them damaged
   */
  async newest(): Promise<Newest> {
    return await newestCheckpoint(this.path);
  }

  /** Takes back what was written after `iteration`; damaged checkpoints are kept under another name. */
  async cutBack(iteration: number): Promise<void> {
    await cutJsonLines(this.metricsPath, iteration);
    for (const picture of await numbered(join(this.path, "samples"), PICTURE)) {
      if (picture.iteration > iteration) await rm(picture.path, { force: true });
    }
    for (const file of await numbered(join(this.path, "checkpoints"), CHECKPOINT)) {
      if (file.iteration > iteration) await writing(file.path, () => rename(file.path, `${file.path}.damaged`));
    }
    for (const name of ["report.json", "report.html"]) await rm(join(this.path, name), { force: true });
  }

  /** Removes all but the `kept` newest checkpoints. */
  async prune(kept: number): Promise<void> {
    const files = await numbered(join(this.path, "checkpoints"), CHECKPOINT);
    for (const { path } of files.slice(0, -kept)) await rm(path, { force: true });
  }

  /** Gives the lock back. */
  async close(): Promise<void> {
    await this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The pictures of samples in a run directory, oldest first. */
export async function listPictures(path: string): Promise<NumberedFile[]> {
  return await numbered(join(path, "samples"), PICTURE);
}

/** The checkpoints of a run directory, oldest first. */
export async function listCheckpoints(path: string): Promise<NumberedFile[]> {
  return await numbered(join(path, "checkpoints"), CHECKPOINT);
}

/**
 * The newest checkpoint of a run directory that can be used, without taking its lock.
 *
 * @throws {CheckpointError} if there are checkpoints, all of them damaged
 */
export async function newestCheckpoint(path: string): Promise<Newest> {
  const notices: string[] = [];
  const files = await listCheckpoints(path);
  for (const file of files.toReversed()) {
    try {
      return { checkpoint: await readCheckpoint(file.path), notices };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      if (file === files[0]) throw error;
      notices.push(`${error.message}; going on from an older one`);
    }
  }
  return { checkpoint: undefined, notices };
}

/**
 * The configuration of a run directory.
 *
 * @throws {CoopFlowError} if there is none
 */
export async function readRunConfig(path: string): Promise<CoopFlowConfig> {
  const file = join(path, "config.json");
  const text = await readFile(file, "utf8").catch((error) => {
    const reason = systemCode(error) === "ENOENT" ? "found none" : `which can't be read: ${systemReason(error)}`;
    throw new CoopFlowError(`${path}: expected a run directory with config.json, ${reason}`, { cause: error });
  });
  return parseConfig(withoutSchema(parseJson(text, file)));
}

/** A configuration file's content without its pointer to the schema. */
export function withoutSchema(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "$schema"));
}

async function readJson(path: string): Promise<unknown> {
  return parseJson(await readFile(path, "utf8"), path);
}

/** @throws {DataError} naming the file */
export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path}: expected JSON, found ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

async function numbered(folder: string, pattern: RegExp): Promise<NumberedFile[]> {
  const names = await readdir(folder).catch(() => []);
  const files = names.flatMap((name) => {
    const match = pattern.exec(name);
    return match === null ? [] : [{ iteration: Number(match[1]), path: join(folder, name) }];
  });
  return files.sort((a, b) => a.iteration - b.iteration);
}

async function writing<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new CoopFlowError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
}
