/** Opens the model that a command's argument names. */
import { stat } from "node:fs/promises";
import { CheckpointError } from "../errors.ts";
import { type Checkpoint, readCheckpoint } from "../coopflow/checkpoint.ts";
import { CoopFlow } from "../coopflow/model.ts";
import { newestCheckpoint, readRunConfig } from "../coopflow/run_directory.ts";
import { systemReason } from "../io/system_error.ts";
import type { DeviceOptions } from "../runtime/device.ts";

/**
 * The model of a checkpoint file, or of a run directory's newest checkpoint that can be used.
 *
 * @param say told of damaged checkpoints that were passed over
 * @throws {CheckpointError} if there is none
 */
export async function openModel(path: string, device: DeviceOptions, say: (line: string) => void): Promise<CoopFlow> {
  return CoopFlow.fromCheckpoint(await findCheckpoint(path, say), device);
}

/** The checkpoint that {@linkcode openModel} opens. */
export async function findCheckpoint(path: string, say: (line: string) => void): Promise<Checkpoint> {
  const found = await stat(path).catch((error) => {
    throw new CheckpointError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  });
  if (!found.isDirectory()) return await readCheckpoint(path);
  await readRunConfig(path);
  const { checkpoint, notices } = await newestCheckpoint(path);
  for (const notice of notices) say(notice);
  if (checkpoint !== undefined) return checkpoint;
  throw new CheckpointError(`${path}: expected a run with a checkpoint, found none yet; train it first`);
}
