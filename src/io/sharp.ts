/** The image library, loaded when it is first needed. */

import { CoopFlowError } from "../errors.ts";

/**
 * The image library sharp.
 *
 * @throws {CoopFlowError} if it cannot be loaded
 */
export async function loadSharp(): Promise<typeof import("sharp").default> {
  try {
    // Imported when needed: loading it takes permissions, which importing the library must not.
    return (await import("sharp")).default;
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new CoopFlowError(`cannot load the image library sharp, which pictures need: ${reason}`, { cause: error });
  }
}
