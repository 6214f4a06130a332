/** `coopflow runs`. */
import { stat } from "node:fs/promises";
import { UsageError } from "../errors.ts";
import type { Measured } from "../coopflow/metric_names.ts";
import { listRuns, type RunSummary, type UnreadableRun } from "../coopflow/runs.ts";
import { duration } from "./progress.ts";
import { textTable } from "./text_table.ts";

/** The options of the command. */
export interface RunsCommandOptions {
  readonly json?: boolean;
}

/** What is measured on held-out images. */
const NAMES: Readonly<Record<Measured, string>> = {
  frechet: "Fréchet",
  digitFid: "digit-FID",
  fid: "FID",
  bitsPerDim: "bits/dim",
};

/** Where `train` puts runs. */
const RUNS = "runs";

/** Runs the command; returns the exit code. */
export async function runsCommand(path: string | undefined, { json }: RunsCommandOptions): Promise<number> {
  const isThere = await stat(path ?? RUNS).then(() => true, () => false);
  if (!isThere && path !== undefined) throw new UsageError(`expected a folder of runs, found nothing at ${path}`);
  const runs = isThere ? await listRuns(path ?? RUNS) : [];
  if (json === true) { for (const run of runs) console.log(JSON.stringify(run)); }
  else if (runs.length === 0) console.log(`no runs in ${path ?? RUNS}`);
  else for (const line of linesOf(runs)) console.log(line);
  return 0;
}

function linesOf(runs: readonly (RunSummary | UnreadableRun)[]): string[] {
  const header = ["run", "state", "iterations", "bits/dim", "ebm", "change", "best metric", "time"];
  const rows = runs.map((run) => "reason" in run ? [run.path, "can't be read"] : rowOf(run));
  const reasons = runs.flatMap((run) => {
    const reason = "reason" in run ? run.reason : run.state?.reason;
    return reason === undefined ? [] : [`${run.path}: ${reason}`];
  });
  return [...textTable(header, rows), ...reasons];
}

function rowOf({ path, state, last, best, config }: RunSummary): string[] {
  const number = (value: unknown): string => typeof value === "number" ? value.toFixed(3) : "–";
  const done = last?.["iteration"] ?? state?.iteration ?? 0;
  return [
    path,
    state?.state ?? "not begun",
    `${done}/${state?.iterations ?? config.training.iterations}`,
    number(last?.["bitsPerDim"]),
    number(last?.["ebmLoss"]),
    number(last?.["change"]),
    best === undefined ? "–" : `${NAMES[best.metric]} ${number(best.value)} @ ${best.iteration}`,
    state === undefined ? "–" : duration(state.seconds),
  ];
}
