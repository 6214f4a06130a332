/** Negative log-likelihood in the units of the literature. */

import { DataError } from "../errors.ts";

/**
 * Bits per dimension, NLL / (D·ln 2).
 *
 * @param nll mean negative log-likelihood of an image in nats, the discretisation term included
 * @param dimensions D = height·width·channels
 * @throws {DataError} if D is not a positive integer
 */
export function bitsPerDim(nll: number, dimensions: number): number {
  if (!Number.isInteger(dimensions) || dimensions < 1) {
    throw new DataError(`expected a positive number of dimensions, got ${dimensions}`);
  }
  return nll / (dimensions * Math.LN2);
}
