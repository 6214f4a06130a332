/** Where a run stands: `state.json` in its directory. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isLocked } from "./run_lock.ts";

/** What becomes of a run. One that its process left without a word, by a kill or a power cut, was interrupted. */
export type RunCondition = "running" | "finished" | "interrupted" | "failed";

/** What `state.json` holds. */
export interface RunState {
  readonly state: RunCondition;
  /** Why it failed. */
  readonly reason?: string;
  readonly iteration: number;
  /** Iterations in all. */
  readonly iterations: number;
  /** Time spent learning, pauses left out. */
  readonly seconds: number;
  /** When the run was begun, and when this was written. */
  readonly started: string;
  readonly updated: string;
}

/** The state of the run in a directory; `undefined` if it has never begun to learn. */
export async function readRunState(path: string): Promise<RunState | undefined> {
  const found = await readStateFile(path);
  if (found?.state !== "running" || await isLocked(join(path, "lock"))) return found;
  return { ...found, state: "interrupted", reason: "its process ended without a word" };
}

/** What the file says, whether the process still lives or not. */
export async function readStateFile(path: string): Promise<RunState | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(path, "state.json"), "utf8"));
    return isRunState(value) ? value : undefined;
  } catch {
    // Atomically written, so one that can't be read was never written here, or changed by others.
    return undefined;
  }
}

function isRunState(value: unknown): value is RunState {
  if (typeof value !== "object" || value === null) return false;
  const { state, iteration, iterations, seconds, started, updated, reason } = value as Record<string, unknown>;
  return (state === "running" || state === "finished" || state === "interrupted" || state === "failed") &&
    [iteration, iterations, seconds].every((number) => typeof number === "number") &&
    [started, updated, reason ?? ""].every((text) => typeof text === "string");
}
