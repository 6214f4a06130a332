/** How one pass through a network is to be made. */
import { UsageError } from "../errors.ts";
import { normal, uniform } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import type { Shape } from "../graph/shape.ts";
import type { Params } from "./params.ts";

/** Settings of one pass, given to every layer. */
export interface Context {
  /** Whether dropout is on. */
  readonly training: boolean;
  /** u32[4] = (seed, iteration, first sample, 0): needed by passes that draw. */
  readonly key?: Value;
  /** Put before the name of every draw, so that the passes of one iteration differ: `proposal/`, `update/`, `init/`. */
  readonly streamPrefix: string;
  /** `initialise`: activation norms use the statistics of this pass, and store them. */
  readonly mode: "use" | "initialise";
  /** Whether gradients compute the insides of coupling layers again instead of keeping them: less memory for about a third more time. */
  readonly recompute?: boolean;
}

/** Evaluation: no dropout; parameters as they are. */
export function evaluation(key?: Value, streamPrefix = ""): Context {
  return { training: false, mode: "use", streamPrefix, ...(key ? { key } : {}) };
}

/** Training: dropout on; the draws of this pass are named after `streamPrefix`. */
export function training(key: Value | undefined, streamPrefix: string, recompute = false): Context {
  return { training: true, mode: "use", streamPrefix, recompute, ...(key ? { key } : {}) };
}

/** Full name of a draw of the layer `params` in this pass. */
export function streamOf(ctx: Context, params: Params, name: string): string {
  return ctx.streamPrefix + params.stream(name);
}

/**
 * The pass's key.
 *
 * @throws {UsageError} if the pass has none
 */
export function keyOf(ctx: Context, what: string): Value {
  if (ctx.key) return ctx.key;
  throw new UsageError(
    `${what}: expected a pass with a key to draw from, found none; give the context a key, or turn the draw off`,
  );
}

/** Standard normal draws of the layer `params`. */
export function drawNormal(ctx: Context, params: Params, name: string, shape: Shape): Value {
  const stream = streamOf(ctx, params, name);
  return normal(keyOf(ctx, stream), stream, shape);
}

/** Uniform draws in [0, 1) of the layer `params`. */
export function drawUniform(ctx: Context, params: Params, name: string, shape: Shape): Value {
  const stream = streamOf(ctx, params, name);
  return uniform(keyOf(ctx, stream), stream, shape);
}
