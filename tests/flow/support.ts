// One battery for all bijectors: inverse ∘ forward, log-determinant against a dense Jacobian, a gradient for every parameter.

import { assert } from "@std/assert";
import { vjp } from "../../src/autodiff/grad.ts";
import type { Forward, Inverse, Pair } from "../../src/flow/bijector.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { numel, type Shape } from "../../src/graph/shape.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { Params, type ParamSpec } from "../../src/nn/params.ts";
import { normals } from "../../src/random.ts";
import { interpret } from "../support/interpreter.ts";

export type Tensors = Record<string, Float64Array>;

/** Standard normal test data. */
export function gaussian(stream: string, n: number): Float64Array {
  return Float64Array.from(normals(7, stream, n));
}

/** Values of a trained-looking model: away from every special start (zeros, the identity, equal gains). */
export function randomStates(specs: readonly ParamSpec[]): Tensors {
  return Object.fromEntries(specs.map((s) => {
    const noise = gaussian(s.name, numel(s.shape));
    const start = s.init(7);
    const positive = s.name.endsWith("inv_std") || s.name.endsWith("weight_g");
    const value = (e: number, i: number): number =>
      positive ? Math.exp(0.2 * e) : s.kind === "buffer" ? start[i]! : start[i]! + 0.1 * e;
    return [s.name, noise.map(value)];
  }));
}

/** Largest absolute difference. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), a.length === b.length ? 0 : Infinity);
}

/** log|det| by elimination with row pivots. */
export function logAbsDet(rows: number[][]): number {
  const a = rows.map((r) => [...r]);
  let log = 0;
  for (let k = 0; k < a.length; k++) {
    let best = k;
    for (let i = k + 1; i < a.length; i++) if (Math.abs(a[i]![k]!) > Math.abs(a[best]![k]!)) best = i;
    [a[k], a[best]] = [a[best]!, a[k]!];
    log += Math.log(Math.abs(a[k]![k]!));
    for (let i = k + 1; i < a.length; i++) {
      const f = a[i]![k]! / a[k]![k]!;
      for (let j = k; j < a.length; j++) a[i]![j]! -= f * a[k]![j]!;
    }
  }
  return log;
}

/** A bijector under test, whatever it works on: `shapes` are those of its tensors, all with the same first size. */
export interface BatteryCase {
  readonly shapes: readonly Shape[];
  readonly aux?: Shape;
  /** Maps the standard normal test data to where the bijector is defined. */
  readonly domain?: (v: number) => number;
  readonly build: (params: Params) => {
    forward: (x: readonly Value[], aux?: Value) => { y: readonly Value[]; logDet: Value };
    inverse: (y: readonly Value[], aux?: Value) => { x: readonly Value[]; logDet: Value };
  };
}

/** Adapts a bijector of pairs. */
export function ofPair(b: {
  forward: (x: Pair, aux?: Value) => Forward<Pair>;
  inverse: (y: Pair, aux?: Value) => Inverse<Pair>;
}): ReturnType<BatteryCase["build"]> {
  const pair = ([first, second]: readonly Value[]): Pair => ({ first: first!, second: second! });
  const list = ({ first, second }: Pair): Value[] => [first, second];
  return {
    forward: (x, aux) => {
      const { y, logDet } = b.forward(pair(x), aux);
      return { y: list(y), logDet };
    },
    inverse: (y, aux) => {
      const { x, logDet } = b.inverse(pair(y), aux);
      return { x: list(x), logDet };
    },
  };
}

/** Adapts a bijector of images. */
export function ofImage(b: {
  forward: (x: Value) => Forward<Value>;
  inverse: (y: Value) => Inverse<Value>;
}): ReturnType<BatteryCase["build"]> {
  return {
    forward: ([x]) => {
      const { y, logDet } = b.forward(x!);
      return { y: [y], logDet };
    },
    inverse: ([y]) => {
      const { x, logDet } = b.inverse(y!);
      return { x: [x], logDet };
    },
  };
}

interface Built {
  readonly run: (
    x: readonly Float64Array[],
  ) => { y: Float64Array[]; back: Float64Array[]; logDet: number[]; cancel: number[] };
  readonly gradients: () => Tensors;
  readonly images: number;
}

function built(test: BatteryCase): Built {
  const n = test.shapes[0]![0]!;
  const make = (withGradients: boolean) => {
    const g = new Graph();
    const params = new Params(g, "layer.");
    const layer = test.build(params);
    const x = test.shapes.map((s, i) => feed(g, `x${i}`, s));
    const aux = test.aux ? feed(g, "aux", test.aux) : undefined;
    const { y, logDet } = layer.forward(x, aux);
    if (withGradients) {
      const seeds = [...y, logDet].map((value, i) => ({ value, cotangent: feed(g, `c${i}`, value.shape) }));
      const trainable = params.trainable;
      vjp(seeds, trainable.map((p) => p.value)).forEach((v, i) => g.fetch(trainable[i]!.spec.name, v));
    } else {
      const back = layer.inverse(y, aux);
      y.forEach((v, i) => g.fetch(`y${i}`, v));
      back.x.forEach((v, i) => g.fetch(`back${i}`, v));
      g.fetch("logDet", logDet);
      g.fetch("cancel", back.logDet);
    }
    verifyGraph(g);
    const states = randomStates(params.specs);
    const auxFeed: Tensors = test.aux ? { aux: gaussian("aux", numel(test.aux)) } : {};
    return {
      run: (feeds: Tensors) => interpret(g, { feeds: { ...feeds, ...auxFeed }, states }).fetches,
      outputs: [...y, logDet],
    };
  };
  const plain = make(false);
  const perImage = (v: ArrayLike<number>): number[] => Array.from({ length: n }, (_, i) => v[v.length === 1 ? 0 : i]!);
  const named = (x: readonly Float64Array[]): Tensors => Object.fromEntries(x.map((v, i) => [`x${i}`, v]));
  return {
    images: n,
    run: (x) => {
      const out = plain.run(named(x));
      const list = (k: string) => test.shapes.map((_, i) => out[`${k}${i}`]!);
      return { y: list("y"), back: list("back"), logDet: perImage(out.logDet!), cancel: perImage(out.cancel!) };
    },
    gradients: () => {
      const graph = make(true);
      const cotangents = graph.outputs.map((v, i) => [`c${i}`, gaussian(`c${i}`, numel(v.shape))]);
      return graph.run({ ...named(inputs(test)), ...Object.fromEntries(cotangents) }) as Tensors;
    },
  };
}

function inputs(test: BatteryCase): Float64Array[] {
  return test.shapes.map((s, i) => gaussian(`x${i}`, numel(s)).map(test.domain ?? ((v) => v)));
}

/** Inverse ∘ forward is the identity, and the two log-determinants cancel. */
export function checkInverse(test: BatteryCase, tolerance = 1e-7): void {
  const x = inputs(test);
  const { back, logDet, cancel } = built(test).run(x);
  x.forEach((v, i) => {
    const d = distance(v, back[i]!);
    assert(d <= tolerance, `tensor ${i}: inverse(forward(x)) is ${d} away from x, more than ${tolerance}`);
  });
  const d = distance(logDet, cancel.map((v) => -v));
  assert(d <= tolerance * 10, `log-determinants of forward and inverse: ${logDet} and ${cancel}`);
}

/** The reported log-determinant is that of the Jacobian by central differences, image by image. */
export function checkLogDet(test: BatteryCase, tolerance = 1e-5): void {
  const { run, images } = built(test);
  const x = inputs(test);
  const sizes = test.shapes.map((s) => numel(s) / images);
  const h = 1e-5;
  // Images don't see each other, so one pair of runs gives a column of every image's Jacobian.
  const columns = sizes.flatMap((size, t) =>
    Array.from({ length: size }, (_, e) => {
      const moved = (by: number) => x.map((v, i) => (i === t ? v.map((w, k) => (k % size === e ? w + by : w)) : v));
      const plus = run(moved(h)).y, minus = run(moved(-h)).y;
      return Array.from({ length: images }, (_, n) =>
        sizes.flatMap((s, i) =>
          Array.from({ length: s }, (_, k) =>
            (plus[i]![n * s + k]! - minus[i]![n * s + k]!) / (2 * h))
        ));
    })
  );
  const { logDet } = run(x);
  for (let n = 0; n < images; n++) {
    const want = logAbsDet(columns.map((c) => c[n]!));
    assert(
      Math.abs(want - logDet[n]!) <= tolerance,
      `image ${n}: reported log-det ${logDet[n]}, the Jacobian's is ${want}`,
    );
  }
}

/** Every trained parameter gets a gradient that is finite and, with one reasoned exception, not zero. */
export function checkGradients(test: BatteryCase): void {
  for (const [name, gradient] of Object.entries(built(test).gradients())) {
    assert(gradient.every(Number.isFinite), `${name}: expected finite gradients`);
    // w = g·v/‖v‖ of a single element does not depend on |v|.
    if (name.endsWith("rescale.weight_v")) continue;
    assert(gradient.some((v) => Math.abs(v) > 1e-9), `${name}: expected a gradient, found zeros`);
  }
}
