/** `coopflow import`. */
import { writeCheckpoint } from "../coopflow/checkpoint.ts";
import { importReference } from "../coopflow/reference_import.ts";
import { RunDirectory } from "../coopflow/run_directory.ts";
import type { RunState } from "../coopflow/run_state.ts";
import { modelStates } from "../coopflow/states.ts";
import { configFrom, type ConfigOptions } from "./config_source.ts";

/** The options of `import`. */
export type ImportCommandOptions = Pick<ConfigOptions, "preset" | "config" | "set">;

/** Makes a run directory of a reference checkpoint; returns the exit code. */
export async function importCommand(
  path: string,
  out: string,
  options: Partial<ImportCommandOptions>,
): Promise<number> {
  const given = { ...options, set: options.set ?? [] };
  const { checkpoint, notices } = await importReference(path, {
    config: async (found) => (await configFrom(given, found)).config,
  });
  await using run = await RunDirectory.create(out, checkpoint.config);
  const { all, parameters } = modelStates(checkpoint.config);
  const { iteration } = checkpoint.counters;
  const valueOf = ({ name }: { name: string }): Float32Array => checkpoint.values.get(name) ?? new Float32Array();
  await writeCheckpoint(run.checkpointPath(iteration), checkpoint, all, valueOf);
  const { iterations } = checkpoint.config.training;
  const now = new Date().toISOString();
  const state: RunState = {
    state: iteration < iterations ? "interrupted" : "finished",
    reason: `imported from ${path}`,
    iteration,
    iterations,
    seconds: 0,
    started: now,
    updated: now,
  };
  await run.writeJson("state.json", state);
  for (const notice of notices) console.log(`${path}: ${notice}`);
  console.log(`${parameters.toLocaleString("en-US")} parameters after ${iteration} iterations in ${out}`);
  return 0;
}
