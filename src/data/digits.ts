/**
 * The built-in data set: handwritten digits, 8×8 pixels with 17 grey levels.
 *
 * Source: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
 * Repository, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
 * (https://creativecommons.org/licenses/by/4.0/). Stored as a safetensors file with held-out indices added.
 */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import type { Dataset } from "./dataset.ts";
import { parseSafetensorsDataset } from "./format_safetensors.ts";

/**
 * 1,500 digits to train on and 297 that are never trained on, wherever digits are used.
 *
 * @throws {DataError} if the file beside this module cannot be read
 */
export async function digits(): Promise<{ train: Dataset; heldout: Dataset }> {
  const { train, heldout } = parseSafetensorsDataset(await fileBytes(), "digits");
  if (heldout === undefined) throw new DataError("digits: expected held-out indices in the built-in file, found none");
  return { train, heldout };
}

async function fileBytes(): Promise<Uint8Array> {
  const url = new URL("./digits.safetensors", import.meta.url);
  try {
    // A module that was loaded over the network has its data there too.
    if (url.protocol !== "file:") return await (await fetch(url)).bytes();
    return await readFile(fileURLToPath(url));
  } catch (error) {
    throw new DataError(`cannot read the built-in digits at ${url.href}: ${systemReason(error)}`, { cause: error });
  }
}
