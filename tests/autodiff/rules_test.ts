// Every gradient rule against central finite differences of the float64 interpreter; the ones that promise it, twice.

import { describe, it } from "@std/testing/bdd";
import { grad } from "../../src/autodiff/grad.ts";
import * as b from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import type { Graph, Value } from "../../src/graph/graph.ts";
import type { Op } from "../../src/graph/attrs.ts";
import { numel, type Shape } from "../../src/graph/shape.ts";
import { checkGradient, gaussian, type GradientCase } from "../support/gradient_check.ts";

const SEEDS = [1, 2, 3];

interface Checked {
  readonly name: string;
  readonly test: GradientCase;
  /** The second derivative exists. */
  readonly twice: boolean;
  readonly tolerance?: number;
}

const KEY = { key: [3, 5, 100, 0] };
const drawKey = (g: Graph): Value => b.feed(g, "key", [4], "u32");

/** Well-conditioned square matrices: identity plus a little. */
function nearIdentity(_: number, [n]: Shape, seed: number): Float64Array {
  return gaussian(seed, "w", n! * n!).map((v, i) => 0.3 * v + (i % (n! + 1) === 0 ? 1.5 : 0));
}

/** Parameters of couplings with ordinary scales: log-scales around −0.5, well above the clamp. */
function couplingPoint(components: number): NonNullable<GradientCase["at"]> {
  return (input, shape, seed) => {
    const data = gaussian(seed, `x${input}`, numel(shape));
    if (input !== 1) return data;
    const groups = 2 + 3 * components;
    const channels = shape[2]! / groups;
    const isScale = (i: number): boolean => Math.floor((i % shape[2]!) / channels) >= 2 + 2 * components;
    return data.map((v, i) => (isScale(i) ? 0.5 * v - 0.5 : v));
  };
}

function conv(x: Shape, w: Shape, stride: number, padding: number): Checked {
  return {
    name: `${x} by ${w}, stride ${stride}, padding ${padding}`,
    test: { shapes: [x, w], build: (g, [x, w]) => g.add("conv", { stride, padding }, [x!, w!])[0]! },
    twice: true,
  };
}

/** Attention, log-sum-exp left out: it is there for the backward pass. */
function attention(dropout: number): Checked {
  const attrs = { heads: 2, dropout, stream: "mask", loop: 0 };
  return {
    name: dropout > 0 ? "with dropout" : "without dropout",
    test: {
      shapes: [[2, 5, 12]],
      build: (g, [kvq]) => g.add("attention", attrs, dropout > 0 ? [kvq!, drawKey(g)] : [kvq!])[0]!,
      feeds: KEY,
    },
    twice: false,
  };
}

const square = (name: string, twice: boolean, build: GradientCase["build"], shape: Shape = [2, 3, 4]): Checked => ({
  name,
  twice,
  test: { shapes: [shape], build },
});

const none: readonly Checked[] = [];

/** What is checked for each op; ops without operands and backward ops (reached through second order) have nothing of their own. */
const CASES: Record<Op, readonly Checked[]> = {
  feed: none,
  state: none,
  param: none,
  constant: none,
  random: none,
  stop_gradient: none,
  map: [
    {
      name: "of three operands",
      twice: true,
      test: {
        shapes: [[2, 3], [3], [2, 1]],
        build: (_, [x, y, z]) => b.map([x!, y!, z!], (p, q, r) => E.mul(E.swish(p), E.softplus(E.add(q, E.tanh(r))))),
      },
    },
    square(
      "elu of concatenated signs",
      true,
      (_, [x]) => b.concat([b.map([x!], E.elu), b.map([b.neg(x!)], E.elu)], -1),
    ),
  ],
  reduce: [
    square("sum of two axes", true, (_, [x]) => b.sum(b.map([x!], E.square), [0, 2])),
    square("max", true, (_, [x]) => b.max(x!, [1])),
    square("mean of all", true, (_, [x]) => b.mean(b.map([x!], E.swish))),
    square("log softmax", true, (_, [x]) => b.logSoftmax(x!, 2)),
  ],
  view: [
    square("transpose", true, (_, [x]) => b.map([b.transpose(x!, [2, 0, 1])], E.square)),
    square(
      "slice with a step",
      true,
      (_, [x]) => b.map([b.view(x!, { offset: 1, shape: [2, 3, 2], strides: [12, 4, 2] })], E.square),
    ),
    square("broadcast", true, (_, [x]) => b.map([b.broadcast(x!, [3, 2, 3, 4])], E.square)),
    square("reshape and repeat", true, (_, [x]) => b.map([b.broadcast(b.reshape(x!, [6, 1, 4]), [6, 2, 4])], E.square)),
    square("diagonal", true, (_, [x]) => b.map([b.view(x!, { offset: 0, shape: [3], strides: [5] })], E.square)),
  ],
  assemble: [
    square("pad", true, (_, [x]) => b.map([b.pad(x!, [[1, 0], [0, 2], [1, 1]])], (v) => E.mul(v, E.add(v, 1)))),
    {
      name: "concatenate",
      twice: true,
      test: { shapes: [[2, 3], [2, 1], [2, 2]], build: (_, xs) => b.map([b.concat(xs, 1)], E.square) },
    },
    square("overlapping pieces of one tensor", true, (_, [x]) => b.mul(b.slice(x!, 2, 0, 3), b.slice(x!, 2, 1, 4))),
  ],
  matmul: [
    { name: "batched", twice: true, test: { shapes: [[2, 3, 4], [2, 4, 5]], build: (_, [x, y]) => b.matmul(x!, y!) } },
    {
      name: "linear layer",
      twice: true,
      test: { shapes: [[2, 3, 4], [5, 4]], build: (_, [x, w]) => b.linear(x!, w!) },
    },
    {
      name: "by itself",
      twice: true,
      test: { shapes: [[1, 3, 4]], build: (_, [x]) => b.matmul(x!, b.transpose(x!, [0, 2, 1])) },
    },
  ],
  conv: [
    conv([2, 5, 4, 3], [4, 3, 3, 3], 1, 1),
    conv([1, 6, 6, 2], [3, 2, 4, 4], 2, 1),
    conv([1, 5, 6, 2], [2, 2, 3, 3], 2, 0),
    conv([2, 4, 4, 3], [2, 3, 4, 4], 1, 0),
    conv([2, 3, 3, 3], [4, 3, 1, 1], 1, 0),
    {
      name: "1x1 and full-size kernels as products",
      twice: true,
      test: {
        shapes: [[2, 4, 4, 3], [2, 3, 1, 1], [5, 2, 4, 4]],
        build: (_, [x, v, w]) => b.conv2d(b.swish(b.conv2d(x!, v!)), w!),
      },
    },
    {
      name: "pooled energy block",
      twice: true,
      test: {
        shapes: [[1, 4, 4, 2], [3, 2, 3, 3]],
        build: (_, [x, w]) => b.avgPool2(b.swish(b.conv2d(x!, w!, { padding: 1 }))),
      },
    },
  ],
  conv_data_grad: none,
  conv_weight_grad: none,
  layer_norm: [{
    name: "over channels",
    twice: false,
    test: { shapes: [[2, 3, 6], [6], [6]], build: (g, inputs) => g.add("layer_norm", { eps: 1e-5 }, inputs)[0]! },
  }],
  layer_norm_grad: none,
  attention: [attention(0), attention(0.3)],
  attention_grad: none,
  mixture: [{
    name: "y and log-det",
    twice: false,
    test: {
      shapes: [[2, 3, 2], [2, 3, 2 * (2 + 3 * 4)], [2]],
      build: (g, inputs) => g.add("mixture", { components: 4 }, inputs),
      at: couplingPoint(4),
    },
  }],
  mixture_grad: none,
  mixture_inverse: none,
  matrix_inverse: [{
    name: "of a matrix",
    twice: true,
    test: { shapes: [[4, 4]], build: (g, inputs) => g.add("matrix_inverse", {}, inputs)[0]!, at: nearIdentity },
  }],
  log_abs_det: [{
    name: "of a matrix",
    twice: true,
    test: { shapes: [[4, 4]], build: (g, inputs) => g.add("log_abs_det", {}, inputs)[0]!, at: nearIdentity },
  }],
  repeat: [
    {
      name: "carried and captured",
      twice: true,
      test: {
        shapes: [[3], [3]],
        build: (g, [x, w]) =>
          b.repeat(g, 3, [x!], ([now]) => ({ carried: [b.map([now!, w!], (p, q) => E.tanh(E.mul(p, q)))] })).carried,
      },
    },
    {
      name: "scanned and stacked, backwards",
      twice: true,
      test: {
        shapes: [[3], [4, 3], [3]],
        build: (g, [x, xs, w]) => {
          const { carried, stacked } = b.repeat(g, 4, [x!], ([now], [slice]) => {
            const next = b.map([now!, slice!, w!], (p, q, r) => E.add(E.mul(E.tanh(p), r), E.mul(q, q)));
            return { carried: [next], stacked: [b.mul(next, slice!)] };
          }, { scanned: [xs!], reversed: true });
          return [...carried, ...stacked];
        },
      },
    },
    {
      name: "nested",
      twice: true,
      test: {
        shapes: [[2], [2]],
        build: (g, [x, w]) =>
          b.repeat(g, 2, [x!], ([outer]) => ({
            carried: [
              b.repeat(g, 2, [outer!], ([now]) => ({ carried: [b.sigmoid(b.mul(b.add(now!, outer!), w!))] }))
                .carried[0]!,
            ],
          })).carried,
      },
    },
    {
      name: "of gradient steps, as the Langevin chain takes them",
      twice: true,
      test: {
        shapes: [[1, 4, 4, 1], [2, 1, 3, 3]],
        build: (g, [x, w]) =>
          b.repeat(g, 2, [x!], ([now]) => {
            const f = b.sum(b.swish(b.conv2d(now!, w!, { padding: 1 })));
            return { carried: [b.add(now!, b.mul(gradOf(f, now!), 0.5))] };
          }).carried,
      },
    },
  ],
};

function gradOf(y: Value, x: Value): Value {
  return grad(y, [x])[0]!;
}

describe("gradient rules", () => {
  for (const [op, cases] of Object.entries(CASES)) {
    for (const { name, test, twice, tolerance } of cases) {
      for (const order of twice ? [1, 2] as const : [1] as const) {
        it(`${op}, ${name}: order ${order}`, () => {
          for (const seed of SEEDS) {
            checkGradient(test, { order, seed, ...(tolerance === undefined ? {} : { tolerance }) });
          }
        });
      }
    }
  }
});
