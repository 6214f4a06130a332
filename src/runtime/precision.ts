/** What devices compute in. */
import { UsageError } from "../errors.ts";

/**
 * What products and convolutions compute in; sums, parameters and everything else are float32 always. `auto` is what the device is fastest in: bf16 on a
 * GPU, float32 on the CPU, where Winograd's convolutions are faster than bf16.
 */
export const PRECISIONS = ["auto", "float32", "tf32", "bf16"] as const;
/** One of them. */
export type Precision = typeof PRECISIONS[number];

/** A precision that is computed in. */
export type ComputedIn = Exclude<Precision, "auto">;

/** What a device computes in. */
export interface PrecisionChoice {
  readonly precision: ComputedIn;
  /** With `auto`: why it is this one. */
  readonly precisionReason?: string;
}

/**
 * What a device computes in when it is asked for this.
 *
 * @throws {UsageError} if it can't
 */
export function chosenPrecision(device: string, asked: Precision): PrecisionChoice {
  if (device !== "cpu") {
    if (asked !== "auto") return { precision: asked };
    return {
      precision: "bf16",
      precisionReason: "a GPU's tensor cores are fastest in it; parameters and sums are float32",
    };
  }
  if (asked === "auto") {
    return { precision: "float32", precisionReason: "on the CPU Winograd's convolutions in it are faster than bf16" };
  }
  if (asked === "float32") return { precision: asked };
  throw new UsageError(
    `precision: the CPU computes in float32 only, found ${asked}: Winograd's convolutions in float32 are faster there; ` +
      "leave it out, take auto, or use a GPU (device cuda)",
  );
}
