/**
 * The bijector contract. A bijector maps x to y and back, and reports log|det ∂y/∂x| per image; layers with parameters differ only in what they do
 * with the pair of halves that checkerboard and channelwise splits make of an image.
 */
import { add, fill } from "../graph/build.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { Context } from "../nn/context.ts";
import { sumTree } from "../nn/sum_tree.ts";

/** Two halves of a tensor, both [N,H,W,C]. */
export interface Pair {
  readonly first: Value;
  readonly second: Value;
}

/** Result of the density direction. */
export interface Forward<X> {
  readonly y: X;
  /** log|det ∂y/∂x|: [N], or [1] when it is the same for every image. */
  readonly logDet: Value;
}

/** Result of the sampling direction. */
export interface Inverse<X> {
  readonly x: X;
  /** log|det ∂x/∂y|: [N], or [1] when it is the same for every image. */
  readonly logDet: Value;
}

/** An invertible map with a tractable log-determinant. `aux` conditions it without being changed. */
export interface Bijector<X> {
  /** Density direction: x → y. */
  forward(ctx: Context, x: X, aux?: Value): Forward<X>;
  /** Sampling direction: y → x. */
  inverse(ctx: Context, y: X, aux?: Value): Inverse<X>;
}

/** The log-determinant of a map that preserves volume. */
export function noLogDet(g: Graph): Value {
  return fill(g, 0, [1]);
}

/** Sum of log-determinants of shapes [N] and [1]; the shared ones are added up before they are repeated. */
export function sumLogDets(terms: readonly Value[]): Value {
  const shared = terms.filter((t) => t.shape[0] === 1);
  const own = terms.filter((t) => t.shape[0] !== 1);
  if (own.length === 0) return sumTree(shared);
  return shared.length === 0 ? sumTree(own) : add(sumTree(own), sumTree(shared));
}

/** Bijectors one after the other. */
export class Chain<X> implements Bijector<X> {
  readonly #steps: readonly Bijector<X>[];
  readonly #graph: Graph;

  constructor(graph: Graph, steps: readonly Bijector<X>[]) {
    this.#graph = graph;
    this.#steps = steps;
  }

  forward(ctx: Context, x: X, aux?: Value): Forward<X> {
    const logDets: Value[] = [noLogDet(this.#graph)];
    for (const step of this.#steps) {
      const { y, logDet } = step.forward(ctx, x, aux);
      x = y;
      logDets.push(logDet);
    }
    return { y: x, logDet: sumLogDets(logDets) };
  }

  inverse(ctx: Context, y: X, aux?: Value): Inverse<X> {
    const logDets: Value[] = [noLogDet(this.#graph)];
    for (const step of [...this.#steps].reverse()) {
      const { x, logDet } = step.inverse(ctx, y, aux);
      y = x;
      logDets.push(logDet);
    }
    return { x: y, logDet: sumLogDets(logDets) };
  }
}
