/** What gradient rules exchange with the driver. */
import type { Value } from "../graph/graph.ts";

/** What a node hands to one of the values that it reads. */
export interface Contribution {
  readonly to: Value;
  readonly value: Value;
}

/** vjp itself, handed down so that a loop's rule can differentiate the body. */
export type Vjp = (seeds: readonly { value: Value; cotangent: Value }[], wrt: readonly Value[]) => Value[];
