/** Opens the model that a command's argument names. */
import type { Checkpoint } from "../coopflow/checkpoint.ts";
import { CoopFlow } from "../coopflow/model.ts";
import type { DeviceOptions } from "../runtime/device.ts";
import { findCheckpoint } from "./checkpoint_source.ts";
import { precisionLine } from "./options.ts";

/**
 * The model of a checkpoint file, or of a run directory's newest checkpoint that can be used.
 *
 * @param say told of damaged checkpoints that were passed over
 * @throws {CheckpointError} if there is none
 */
export async function openModel(path: string, device: DeviceOptions, say: (line: string) => void): Promise<CoopFlow> {
  return modelOf(await findCheckpoint(path, say), device, say);
}

/** The model of a checkpoint; `say` is told of what its device chose by itself. */
export function modelOf(checkpoint: Checkpoint, device: DeviceOptions, say: (line: string) => void): CoopFlow {
  const model = CoopFlow.fromCheckpoint(checkpoint, device);
  const line = precisionLine(model.device);
  if (line !== undefined) say(line);
  return model;
}
