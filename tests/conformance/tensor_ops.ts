// Cases of the ops that hold, move, map and reduce tensors, of draws and of loops.

import * as b from "../../src/graph/build.ts";
import { E, type Expr } from "../../src/graph/expr.ts";
import { EXACT, type GeneratorsOf, make, someShape } from "./case.ts";

/** A smooth expression of three operands that uses most of the language. */
function rich(x: Expr, y: Expr, z: Expr): Expr {
  const gate = E.mul(E.sigmoid(x), E.add(E.elu(y), E.softplus(E.neg(z))));
  return E.add(gate, E.select(E.lt(x, 0), E.log1p(E.abs(y)), E.div(E.exp(E.min(z, 1)), E.sqrt(E.add(1, E.square(y))))));
}

/** The generators. */
export const TENSOR_OPS: GeneratorsOf<
  | "feed"
  | "state"
  | "constant"
  | "param"
  | "stop_gradient"
  | "view"
  | "assemble"
  | "map"
  | "reduce"
  | "random"
  | "repeat"
> = {
  feed: { ...EXACT, make: make((c) => c.fetch(c.feed(someShape(c.dice)))) },
  state: { ...EXACT, make: make((c) => c.fetch(c.state(someShape(c.dice)))) },
  constant: {
    ...EXACT,
    make: make((c) => {
      const shape = someShape(c.dice);
      return c.fetch(b.constant(c.graph, c.dice.tensor(shape), shape));
    }),
  },
  param: {
    ...EXACT,
    make: make((c) => {
      const [p, q] = [c.feed([5, 3]), c.feed([5, 3])];
      return c.fetch(...b.repeat(c.graph, c.dice.int(1, 4), [p, q], ([x, y]) => ({ carried: [y!, x!] })).carried);
    }),
  },
  stop_gradient: { ...EXACT, make: make((c) => c.fetch(b.stopGradient(c.feed(someShape(c.dice))))) },
  view: {
    ...EXACT,
    make: make((c) => {
      const [h, w, k] = [c.dice.int(1, 9), c.dice.int(2, 9), c.dice.int(2, 20)];
      const x = c.feed([h, w, k]);
      return c.fetch(
        b.transpose(x, [2, 0, 1]),
        b.slice(x, 1, 1, w),
        b.broadcast(b.slice(x, 2, k - 1, k), [2, h, w, 3]),
        b.view(x, { offset: 1, shape: [h, Math.floor(w * k / 3)], strides: [w * k, 2] }),
      );
    }),
  },
  assemble: {
    ...EXACT,
    make: make((c) => {
      const [n, k] = [c.dice.int(1, 5), c.dice.int(1, 19)];
      const [x, y] = [c.feed([n, k, 3]), c.feed([n, k, 2])];
      return c.fetch(
        b.concat([x, y, x], 2),
        b.pad(x, [[1, 0], [0, 2], [1, 1]]),
        b.concat([b.transpose(x, [1, 0, 2]), c.feed([k, 2, 3])], 1),
      );
    }),
  },
  map: {
    tolerance: 2e-6,
    reason: "float32 arithmetic, a few ulp for each elementary function",
    make: make((c) => {
      const shape = someShape(c.dice);
      const last = shape.at(-1)!;
      const operands = [
        c.feed(shape),
        c.feed([last]),
        b.transpose(c.feed([...shape].reverse()), shape.map((_, i) => shape.length - 1 - i)),
      ];
      const two = b.map(operands, rich);
      return c.fetch(two, b.map([two, operands[0]!], (p, q) => E.tanh(E.sub(p, q))));
    }),
  },
  reduce: {
    tolerance: 1e-6,
    reason: "float32 sums in a tree: rounding grows with the logarithm of the count",
    make: make((c) => {
      const shape = c.dice.pick([[7], [3, 1000], [64, 3], [2, 16, 5], [5, 4, 3, 8], [1, 70000]]);
      const x = c.feed(shape);
      const axes = shape.flatMap((_, i) => (c.dice.int(0, 1) === 1 ? [i] : []));
      return c.fetch(
        b.sum(b.map([x], E.square)),
        b.sum(b.map([x], E.softplus), axes),
        b.max(x, axes),
        b.mean(b.map([x], E.abs), [0]),
      );
    }),
  },
  random: {
    tolerance: 1e-6,
    reason: "bits and uniforms are the same; normals are within 1e-6 of the float64 formula",
    make: make((c) => {
      const shape = c.dice.pick([[1, 1], [3, 5], [4, 3, 7], [2, 1001]]);
      const key = c.key();
      const [first] = [b.normal(key, "a", shape)];
      const loop = b.repeat(
        c.graph,
        3,
        [first!],
        ([x]) => ({ carried: [x!], stacked: [b.uniform(key, "b", shape), b.normal(key, "c", shape)] }),
      );
      return c.fetch(b.uniform(key, "u", shape), first!, ...loop.stacked);
    }),
  },
  repeat: {
    tolerance: 3e-6,
    reason: "a few float32 steps",
    make: make((c) => {
      const count = c.dice.int(1, 5);
      const shape = c.dice.pick([[3], [2, 5], [2, 3, 4]]);
      const [x, w, xs] = [c.feed(shape), c.state(shape), c.feed([count, ...shape])];
      const reversed = c.dice.int(0, 1) === 1;
      const loop = b.repeat(c.graph, count, [x, w], ([p, q], [s]) => {
        const inner = b.repeat(
          c.graph,
          2,
          [p!],
          ([r]) => ({ carried: [b.map([r!, w], (u, v) => E.tanh(E.add(u, v)))], stacked: [b.sum(r!)] }),
        );
        const next = b.add(inner.carried[0]!, b.mul(s!, 0.5));
        return { carried: [q!, next], stacked: [next, b.mul(s!, q!), inner.stacked[0]!] };
      }, { scanned: [xs], reversed });
      return c.fetch(...loop.carried, ...loop.stacked);
    }),
  },
};
