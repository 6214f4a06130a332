/** What everything that is done with a trained model checks. */
import { DataError, UsageError } from "../errors.ts";
import type { Dataset } from "../data/dataset.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Averaged } from "./programs/program.ts";
import { averagedNetworks } from "./states.ts";

const MAX_U32 = 0xffffffff;

/** @throws {DataError} if a data set's images are not what the configuration says */
export function checkDataset(config: CoopFlowConfig, dataset: Dataset): void {
  for (const key of ["height", "width", "channels", "levels"] as const) {
    if (dataset[key] === config.data[key]) continue;
    const images = `${dataset.height}×${dataset.width}×${dataset.channels} with ${dataset.levels} levels`;
    throw new DataError(
      `data.${key}: expected ${config.data[key]} as configured, found ${
        dataset[key]
      } in ${dataset.name} (${images}); ` +
        `choose other data, or another configuration`,
    );
  }
}

/** @throws {DataError} if `images` is no whole number of images in [−1, 1] */
export function checkImages(config: CoopFlowConfig, images: Float32Array): void {
  const { height, width, channels } = config.data;
  const size = height * width * channels;
  if (images.length === 0 || images.length % size !== 0) {
    throw new DataError(
      `expected images of ${height}×${width}×${channels} = ${size} values, found ${images.length} values`,
    );
  }
  const bad = images.findIndex((value) => !(value >= -1 && value <= 1));
  if (bad >= 0) {
    throw new DataError(`expected values in [−1, 1], found ${images[bad]} in image ${Math.floor(bad / size)}`);
  }
}

/** Which networks are taken from their averages, and a name for that. */
export function parameters(config: CoopFlowConfig, live: boolean | undefined): { averaged: Averaged; name: string } {
  return live === true ? { averaged: {}, name: "live" } : { averaged: averagedNetworks(config), name: "averaged" };
}

/** @throws {UsageError} if it isn't a whole number from `least` to 2³² − 1 */
export function expectU32(what: string, value: number, least = 0): void {
  if (Number.isInteger(value) && value >= least && value <= MAX_U32) return;
  throw new UsageError(`${what}: expected a whole number from ${least} to ${MAX_U32}, found ${value}`);
}
