/** Moments of a set of features in pytorch-fid's files: an `.npz` archive with arrays `mu` [d] and `sigma` [d, d]. */

import { readFile } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { writeAtomic } from "../io/atomic.ts";
import { listOf, npyOf, NpzArchive, npzOf } from "../io/npy.ts";
import { systemReason } from "../io/system_error.ts";
import { toFloat64 } from "../io/tensor.ts";
import type { Moments } from "./moments.ts";

/**
 * Reads moments. How many samples they come from is not in such a file: `count` is 0.
 *
 * @throws {DataError} if there is no such file, or it holds something else
 */
export async function readStatistics(path: string): Promise<Moments> {
  const bytes = await readFile(path).catch((error) => {
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  });
  const archive = new NpzArchive(path, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const missing = ["mu", "sigma"].find((name) => !archive.names.includes(name));
  if (missing !== undefined) {
    throw new DataError(`${path}: expected arrays mu and sigma, found ${listOf(archive.names)}`);
  }
  const [mu, sigma] = [await archive.read("mu"), await archive.read("sigma")];
  const d = mu.shape[0] ?? 0;
  if (mu.shape.length !== 1 || sigma.shape.length !== 2 || sigma.shape.some((size) => size !== d)) {
    throw new DataError(`${path}: expected mu [d] and sigma [d, d], found [${mu.shape}] and [${sigma.shape}]`);
  }
  const [mean, covariance] = [toFloat64(mu), toFloat64(sigma)];
  if (![mean, covariance].every((values) => values.every(Number.isFinite))) {
    throw new DataError(`${path}: expected finite numbers, found others`);
  }
  return { count: 0, dimension: d, mean, covariance };
}

/** Writes moments; a file that was there stays until all is written. */
export async function writeStatistics(path: string, { mean, covariance, dimension }: Moments): Promise<void> {
  const bytes = npzOf({ mu: npyOf(mean, [dimension]), sigma: npyOf(covariance, [dimension, dimension]) });
  await writeAtomic(path, async (file) => {
    await file.write(bytes);
  });
}
