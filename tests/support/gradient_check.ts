// Central finite differences of the interpreter, along random directions, against gradients built by autodiff.

import { assert } from "@std/assert";
import { grad } from "../../src/autodiff/grad.ts";
import * as b from "../../src/graph/build.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { numel, type Shape } from "../../src/graph/shape.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { normals } from "../../src/random.ts";
import { evaluateValues } from "./interpreter.ts";

/** A function to differentiate: tensors in, tensors out. */
export interface GradientCase {
  readonly shapes: readonly Shape[];
  readonly build: (g: Graph, inputs: readonly Value[]) => Value | readonly Value[];
  /** Where to differentiate; standard normal draws where absent. */
  readonly at?: (input: number, shape: Shape, seed: number) => Float64Array;
  /** Further feeds, such as the key of random draws. */
  readonly feeds?: Readonly<Record<string, ArrayLike<number>>>;
}

/** How a check is made. */
export interface CheckOptions {
  /** 1: grad; 2: grad of ⟨direction, grad⟩. */
  readonly order?: 1 | 2;
  readonly seed?: number;
  /** Largest error, relative to the sum of the magnitudes that cancel in the directional derivative. */
  readonly tolerance?: number;
}

/** Half the distance of the two points, in units of the input's scale: 1e-5 makes truncation and rounding errors about 1e-10. */
const STEP = 1e-5;

/** Draws for test data: float64 values of N(0, 1). */
export function gaussian(seed: number, stream: string, n: number): Float64Array {
  return Float64Array.from(normals(seed, stream, n));
}

const dot = (a: Float64Array, c: Float64Array): number => a.reduce((sum, v, i) => sum + v * c[i]!, 0);

/** Σ ⟨a_i, b_i⟩ as one scalar. */
function inner(pairs: readonly (readonly [Value, Value])[]): Value {
  const terms = pairs.map(([x, y]) => b.scalar(b.sum(b.mul(x, y))));
  return terms.reduce((x, y) => b.add(x, y));
}

/**
 * Asserts that d/dt s(p + t·u) = ⟨∇s, u⟩ where s = Σ ⟨cotangent, output⟩ and p holds the inputs and the cotangents, so that every
 * operand of every backward op is differentiated too when the order is 2.
 */
export function checkGradient(test: GradientCase, options: CheckOptions = {}): void {
  const { order = 1, seed = 0, tolerance = 1e-6 } = options;
  const g = new Graph();
  const inputs = test.shapes.map((shape, i) => b.feed(g, `x${i}`, shape));
  const built = test.build(g, inputs);
  const outputs = Array.isArray(built) ? built as readonly Value[] : [built as Value];
  const cotangents = outputs.map((y, i) => b.feed(g, `c${i}`, y.shape));
  const leaves = [...inputs, ...cotangents];
  let s = inner(outputs.map((y, i) => [y, cotangents[i]!]));
  if (order === 2) {
    const directions = leaves.map((x, i) => b.feed(g, `v${i}`, x.shape));
    s = inner(grad(s, leaves).map((d, i) => [d, directions[i]!]));
  }
  const grads = grad(s, leaves);
  verifyGraph(g);

  const point = new Map<string, Float64Array>();
  inputs.forEach((x, i) => point.set(`x${i}`, test.at?.(i, x.shape, seed) ?? gaussian(seed, `x${i}`, numel(x.shape))));
  cotangents.forEach((c, i) => point.set(`c${i}`, gaussian(seed, `c${i}`, numel(c.shape))));
  leaves.forEach((x, i) => point.set(`v${i}`, gaussian(seed, `v${i}`, numel(x.shape))));
  for (const [name, data] of Object.entries(test.feeds ?? {})) point.set(name, Float64Array.from(data));

  const names = [...inputs.map((_, i) => `x${i}`), ...cotangents.map((_, i) => `c${i}`)];
  const analytic = evaluateValues(g, grads, { feeds: point });
  // One direction a leaf, so that a small gradient is not hidden behind a large one.
  names.forEach((name, i) => {
    const x = point.get(name)!;
    const direction = gaussian(seed + 1, `u ${name}`, x.length);
    const at = (t: number): number => {
      const moved = new Map(point).set(name, x.map((v, k) => v + t * direction[k]!));
      return evaluateValues(g, [s], { feeds: moved })[0]![0]!;
    };
    const expected = (at(STEP) - at(-STEP)) / (2 * STEP);
    const found = dot(analytic[i]!, direction);
    const scale = 1 + analytic[i]!.reduce((sum, v, k) => sum + Math.abs(v * direction[k]!), 0);
    assert(
      Math.abs(found - expected) <= tolerance * scale,
      `order ${order} gradient by ${name}: expected ${expected}, found ${found} (scale ${scale}, seed ${seed})`,
    );
  });
}
