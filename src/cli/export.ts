/** `coopflow export`. */
import { exportReference } from "../coopflow/reference_export.ts";
import { findCheckpoint } from "./checkpoint_source.ts";

/** The options of `export`. */
export interface ExportCommandOptions {
  readonly to: string;
  readonly liveParameters?: boolean;
  readonly optimizers?: boolean;
  readonly dataParallel?: boolean;
  readonly epoch?: number;
}

/** Writes a run's networks for the reference program; returns the exit code. */
export async function exportCommand(run: string, options: Partial<ExportCommandOptions>): Promise<number> {
  const { to = "", ...how } = options;
  const checkpoint = await findCheckpoint(run, (line) => console.error(line));
  await exportReference(to, checkpoint, how);
  const { coupling } = checkpoint.config.flow;
  if (coupling !== "mixture" && !to.endsWith(".safetensors")) {
    console.error(
      `${to}: the authors' program has no ${coupling} couplings and can't use it; PyTorch and import read it`,
    );
  }
  console.log(`iteration ${checkpoint.counters.iteration} of ${run} in ${to}`);
  return 0;
}
