/** What is known of runs without opening them: for lists and comparisons. */
import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { CoopFlowError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Report } from "./events.ts";
import { bestOf, type Measurement, readMeasurements } from "./measurements.ts";
import { parseJson, readRunConfig } from "./run_directory.ts";
import { readLastMetrics } from "./run_metrics.ts";
import { readRunState, type RunState } from "./run_state.ts";

/** A run, as its files tell of it. */
export interface RunSummary {
  readonly path: string;
  readonly name: string;
  readonly config: CoopFlowConfig;
  readonly environment: Readonly<Record<string, unknown>>;
  /** `undefined`: it has never begun to learn. */
  readonly state: RunState | undefined;
  /** Figures of the last iteration. */
  readonly last: Readonly<Record<string, unknown>> | undefined;
  /** Measurements at the end. */
  readonly report: Partial<Report>;
  /**
   * The best of what was measured on held-out images while it learnt (`training.best`), else the Fréchet distance of revised images at the end. The two
   * are not mixed: they are of different numbers of images.
   */
  readonly best: Measurement | undefined;
}

/** A folder that looks like a run but can't be read. */
export interface UnreadableRun {
  readonly path: string;
  readonly reason: string;
}

/**
 * Reads what a run says of itself.
 *
 * @throws {CoopFlowError} if there is none
 */
export async function readRun(path: string): Promise<RunSummary> {
  const config = await readRunConfig(path);
  const json = async (name: string): Promise<Record<string, unknown>> => {
    const file = join(path, name);
    const text = await readFile(file, "utf8").catch(() => "{}");
    const value = parseJson(text, file);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  };
  const last = await readLastMetrics(join(path, "metrics.jsonl"));
  const report = await json("report.json") as Partial<Report>;
  return {
    path,
    name: basename(resolve(path)),
    config,
    environment: await json("environment.json"),
    state: await readRunState(path),
    last,
    report,
    best: bestOf(await readMeasurements(path)) ?? atTheEnd(report, last?.["iteration"]),
  };
}

function atTheEnd({ frechet }: Partial<Report>, iteration: unknown): Measurement | undefined {
  if (frechet === undefined || typeof iteration !== "number") return undefined;
  return { iteration, metric: "frechet", value: frechet.revised };
}

/** Folders inside folders that are searched for runs. */
const DEPTH = 3;

/**
 * The runs in a folder and the folders in it, by name; or the run that the folder is.
 *
 * @throws {CoopFlowError} if the folder can't be read
 */
export async function listRuns(path: string): Promise<(RunSummary | UnreadableRun)[]> {
  const found: (RunSummary | UnreadableRun)[] = [];
  const visit = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch((error) => {
      throw new CoopFlowError(`cannot read ${folder}: ${systemReason(error)}`, { cause: error });
    });
    if (entries.some(({ name }) => name === "config.json") && entries.some(({ name }) => name === "checkpoints")) {
      found.push(await readRun(folder).catch((error: unknown) => unreadable(folder, error)));
      return;
    }
    if (depth === DEPTH) return;
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    // "run-2" before "run-10".
    for (const name of folders.sort(new Intl.Collator("en", { numeric: true }).compare)) {
      await visit(join(folder, name), depth + 1);
    }
  };
  await visit(path, 0);
  return found;
}

function unreadable(path: string, error: unknown): UnreadableRun {
  if (!(error instanceof CoopFlowError)) throw error;
  return { path, reason: error.message };
}

/** Fields in which objects differ, by their paths (`training.flow.lr`), with the value of each. */
export function differences(objects: readonly unknown[]): { field: string; values: string[] }[] {
  const flat = objects.map((value) => new Map(leaves(value, "")));
  const fields = new Set(flat.flatMap((map) => [...map.keys()]));
  return [...fields].flatMap((field) => {
    const values = flat.map((map) => map.get(field) ?? "");
    return values.every((value) => value === values[0]) ? [] : [{ field, values }];
  });
}

/** The fields of an object and of those in it, as texts. Lists are one field. */
export function leaves(value: unknown, path: string): [field: string, value: string][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [[path, typeof value === "string" ? value : JSON.stringify(value) ?? ""]];
  }
  return Object.entries(value).flatMap(([key, child]) => leaves(child, path === "" ? key : `${path}.${key}`));
}
