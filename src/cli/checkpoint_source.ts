/** Finds the checkpoint or configuration that a command's argument names; models are opened in `model_source.ts`. */
import { stat } from "node:fs/promises";
import { CheckpointError, UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { type Checkpoint, readCheckpoint, readCheckpointHeader } from "../coopflow/checkpoint.ts";
import { newestCheckpoint, readRunConfig } from "../coopflow/run_directory.ts";
import { systemReason } from "../io/system_error.ts";

/**
 * The configuration of a run directory or checkpoint file, without reading its tensors: what a command is given can be checked against it at once.
 *
 * @throws {CoopFlowError} if there is none
 */
export async function findConfig(path: string): Promise<CoopFlowConfig> {
  return await isDirectory(path) ? await readRunConfig(path) : (await readCheckpointHeader(path)).config;
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await stat(path).catch((error) => {
    throw new CheckpointError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  });
  return found.isDirectory();
}

/**
 * The checkpoint with T = `steps` for the chains of its samples; as it is without `steps`.
 *
 * @throws {UsageError} if its model has no chains
 */
export function withSteps(checkpoint: Checkpoint, steps: number | undefined): Checkpoint {
  if (steps === undefined) return checkpoint;
  const { config } = checkpoint;
  if (config.training.phase === "flow") {
    throw new UsageError("--steps: expected a model with a trained EBM, found one of phase flow, which has no chains");
  }
  return { ...checkpoint, config: { ...config, langevin: { ...config.langevin, steps } } };
}

/**
 * The checkpoint of a file, or a run directory's newest that can be used.
 *
 * @param say told of damaged checkpoints that were passed over
 * @throws {CheckpointError} if there is none
 */
export async function findCheckpoint(path: string, say: (line: string) => void): Promise<Checkpoint> {
  if (!await isDirectory(path)) return await readCheckpoint(path);
  await readRunConfig(path);
  const { checkpoint, notices } = await newestCheckpoint(path);
  for (const notice of notices) say(notice);
  if (checkpoint !== undefined) return checkpoint;
  throw new CheckpointError(`${path}: expected a run with a checkpoint, found none yet; train it first`);
}
