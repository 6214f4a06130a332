/** What runs the graphs of the cases: the native runtime, or (in tests) the float64 interpreter. */
import type { Graph } from "../../graph/graph.ts";

/** Tensors by name. */
export type Tensors = Readonly<Record<string, ArrayLike<number>>>;

/** What one run delivers. */
export interface Execution {
  readonly fetches: Tensors;
  /** Next values of the states that the graph assigns. */
  readonly assigns: Tensors;
}

/** Runs a graph from the given feeds and states. */
export type Execute = (graph: Graph, feeds: Tensors, states: Tensors) => Execution | Promise<Execution>;

/**
 * A fetched tensor.
 *
 * @throws {Error} if the run did not deliver it: a defect of the executor
 */
export function fetched(execution: Execution, name: string): ArrayLike<number> {
  const data = execution.fetches[name];
  if (!data) {
    throw new Error(`expected the run to deliver "${name}", found ${Object.keys(execution.fetches).join(", ")}`);
  }
  return data;
}

/** Thrown by a case that can't be run where it is, saying why: it has not failed. */
export class SkippedCase extends Error {
  override name = "SkippedCase";
}
