// Cases of the ops that have kernels of their own: products, convolutions, layers, small matrices.

import * as b from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import type { Value } from "../../src/graph/graph.ts";
import type { AttentionAttrs } from "../../src/graph/attrs.ts";
import type { Shape } from "../../src/graph/shape.ts";
import { type Builder, type GeneratorsOf, make } from "./case.ts";
import type { Dice } from "./dice.ts";

/** A square, well-conditioned matrix. */
function nearIdentity(dice: Dice, n: number): Float32Array<ArrayBuffer> {
  return dice.tensor([n, n], 0.4 / Math.sqrt(n)).map((v, i) => v + (i % (n + 1) === 0 ? 1 : 0));
}

interface ConvSizes {
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
  readonly attrs: { readonly stride: number; readonly padding: number };
}

/** Winograd-sized and other 3×3 kernels, 1×1, the 4×4 end, strides; odd sizes and channel counts. */
function convSizes(dice: Dice): ConvSizes {
  const [kernel, stride, padding] = dice.pick(
    [[3, 1, 1], [3, 1, 1], [3, 1, 1], [1, 1, 0], [4, 1, 0], [4, 2, 1], [3, 2, 1], [2, 1, 0]] as const,
  );
  const channels = [1, 2, 3, 5, 16, 17, 32, 48];
  const [i, o] = [dice.pick(channels), dice.pick(channels)];
  const [n, h, w] = [dice.int(1, 3), dice.int(kernel, 11), dice.int(kernel, 11)];
  const out = (size: number): number => Math.floor((size + 2 * padding - kernel) / stride) + 1;
  return { x: [n, h, w, i], w: [o, i, kernel, kernel], y: [n, out(h), out(w), o], attrs: { stride, padding } };
}

function attentionCase(c: Builder): { attrs: AttentionAttrs; kvq: Value; key: Value[] } {
  const heads = c.dice.pick([1, 2, 4]);
  const width = heads * c.dice.pick([1, 3, 4, 8, 24]);
  const dropout = c.dice.pick([0, 0.2]);
  const kvq = c.feed([c.dice.int(1, 3), c.dice.pick([1, 7, 16, 33, 128]), 3 * width]);
  return { attrs: { heads, dropout, stream: "drop", loop: 0 }, kvq, key: dropout > 0 ? [c.key()] : [] };
}

interface MixtureOperands {
  readonly attrs: { readonly components: number };
  readonly operands: readonly Value[];
  readonly images: number;
}

/** Ordinary mixtures, some with sharp components; log-scales stay above the clamp, where the derivative jumps. */
function mixtureCase(c: Builder): MixtureOperands {
  const components = c.dice.pick([1, 3, 4, 8, 32]);
  const [n, p, channels] = [c.dice.int(1, 3), c.dice.pick([1, 5, 32]), c.dice.pick([1, 2, 3, 6])];
  const width = channels * (2 + 3 * components);
  const raw = c.dice.tensor([n, p, width], 0.7).map((
    v,
    i,
  ) => (i % width >= channels * (2 + 2 * components) ? v - 0.5 : v));
  return {
    attrs: { components },
    operands: [c.feed([n, p, channels]), c.feed([n, p, width], raw), c.feed([channels])],
    images: n,
  };
}

/** The generators. */
export const LAYER_OPS: GeneratorsOf<
  | "matmul"
  | "conv"
  | "conv_data_grad"
  | "conv_weight_grad"
  | "layer_norm"
  | "layer_norm_grad"
  | "attention"
  | "attention_grad"
  | "mixture"
  | "mixture_grad"
  | "mixture_inverse"
  | "matrix_inverse"
  | "log_abs_det"
> = {
  matmul: {
    tolerance: 3e-6,
    reason: "float32 sums of products, relative to the largest result",
    make: make((c) => {
      const [n, m, k, o] = [
        c.dice.int(1, 3),
        c.dice.pick([1, 5, 16, 65]),
        c.dice.pick([1, 3, 17, 96, 300]),
        c.dice.pick([1, 2, 6, 33, 64]),
      ];
      const [x, w] = [c.feed([n, m, k]), c.state([o, k])];
      const y = b.linear(x, w);
      return c.fetch(
        y,
        b.swish(b.add(b.linear(x, c.state([o, k])), c.state([o]))),
        b.matmul(b.transpose(x, [0, 2, 1]), y),
        b.matmul(c.feed([n, o, m]), b.slice(x, 2, 0, k)),
      );
    }),
  },
  conv: {
    tolerance: 1e-5,
    reason: "Winograd F(4×4,3×3) in float32: about 3e-6",
    make: make((c) => {
      const s = convSizes(c.dice);
      const [x, w] = [c.feed(s.x), c.state(s.w)];
      const [y] = c.graph.add("conv", s.attrs, [x, w]);
      const [fused] = c.graph.add("conv", s.attrs, [x, c.state(s.w)]);
      const values = [y!, b.swish(b.add(fused!, c.state([s.y[3]!])))];
      if (s.y[1]! % 2 === 0 && s.y[2]! % 2 === 0) {
        // Beside a result that keeps its size, so that both kinds leave one epilogue.
        const [third] = c.graph.add("conv", s.attrs, [x, c.state(s.w)]);
        values.push(b.swish(third!), b.avgPool2(b.map([third!], (v) => E.max(v, 0))));
      }
      return c.fetch(...values);
    }),
  },
  conv_data_grad: {
    tolerance: 1e-5,
    reason: "Winograd F(4×4,3×3) in float32: about 3e-6",
    make: make((c) => {
      const s = convSizes(c.dice);
      const attrs = { ...s.attrs, height: s.x[1]!, width: s.x[2]! };
      const [dx] = c.graph.add("conv_data_grad", attrs, [c.feed(s.y), c.state(s.w)]);
      const [fused] = c.graph.add("conv_data_grad", attrs, [c.feed(s.y), c.state(s.w)]);
      return c.fetch(dx!, b.mul(fused!, b.sigmoid(c.feed(s.x))));
    }),
  },
  conv_weight_grad: {
    tolerance: 1e-5,
    reason: "Winograd in float32, summed over all pixels",
    make: make((c) => {
      const s = convSizes(c.dice);
      return c.fetch(c.graph.add("conv_weight_grad", { ...s.attrs, kernel: s.w[2]! }, [c.feed(s.x), c.feed(s.y)])[0]!);
    }),
  },
  layer_norm: {
    tolerance: 1e-6,
    reason: "float32 sums over channels",
    make: make((c) => {
      const [rows, k] = [c.dice.pick([1, 3, 70]), c.dice.pick([2, 3, 16, 33, 96])];
      return c.fetch(c.graph.add("layer_norm", { eps: 1e-5 }, [c.feed([2, rows, k]), c.state([k]), c.state([k])])[0]!);
    }),
  },
  layer_norm_grad: {
    tolerance: 1e-5,
    reason: "float32 sums over channels and rows, divided by the standard deviation of as few as three numbers",
    make: make((c) => {
      const [rows, k] = [c.dice.pick([1, 3, 70]), c.dice.pick([3, 16, 33, 96])];
      const shape = [2, rows, k];
      return c.fetch(...c.graph.add("layer_norm_grad", { eps: 1e-5 }, [c.feed(shape), c.state([k]), c.feed(shape)]));
    }),
  },
  attention: {
    tolerance: 3e-6,
    reason: "float32 softmax and sums of products; the dropped weights are the same",
    make: make((c) => {
      const { attrs, kvq, key } = attentionCase(c);
      return c.fetch(...c.graph.add("attention", attrs, [kvq, ...key]).slice(0, 2)); // the bits it keeps are tested in C++
    }),
  },
  attention_grad: {
    tolerance: 5e-6,
    reason: "float32, scores computed again from the log-sum-exp",
    make: make((c) => {
      const { attrs, kvq, key } = attentionCase(c);
      const [out, lse, ...kept] = c.graph.add("attention", attrs, [kvq, ...key]) as [Value, Value, ...Value[]];
      const { heads, dropout } = attrs;
      return c.fetch(
        c.graph.add("attention_grad", { heads, dropout }, [kvq, out, lse, c.feed(out.shape), ...kept])[0]!,
      );
    }),
  },
  mixture: {
    tolerance: 3e-6,
    reason: "float32 log-sum-exp; log-determinants are sums over positions",
    make: make((c) => {
      const { attrs, operands } = mixtureCase(c);
      return c.fetch(...c.graph.add("mixture", attrs, operands));
    }),
  },
  mixture_grad: {
    tolerance: 1e-5,
    reason: "float32 responsibilities, whose differences cancel",
    make: make((c) => {
      const { attrs, operands, images } = mixtureCase(c);
      return c.fetch(
        ...c.graph.add("mixture_grad", attrs, [...operands, c.feed(operands[0]!.shape), c.feed([images])]),
      );
    }),
  },
  mixture_inverse: {
    tolerance: 5e-5,
    reason: "the root of a float32 function: its error is divided by the slope",
    make: make((c) => {
      const { attrs, operands } = mixtureCase(c);
      return c.fetch(...c.graph.add("mixture_inverse", attrs, operands));
    }),
  },
  matrix_inverse: {
    tolerance: 1e-6,
    reason: "double precision inside, rounded once",
    make: make((c) => {
      const n = c.dice.pick([1, 2, 6, 12, 24]);
      return c.fetch(c.graph.add("matrix_inverse", {}, [c.feed([n, n], nearIdentity(c.dice, n))])[0]!);
    }),
  },
  log_abs_det: {
    tolerance: 2e-6,
    reason: "double precision inside, rounded once; the result may be close to 0",
    make: make((c) => {
      const n = c.dice.pick([1, 2, 6, 12, 24]);
      const w = nearIdentity(c.dice, n).map((v) => 1.5 * v);
      return c.fetch(c.graph.add("log_abs_det", {}, [c.feed([n, n], w)])[0]!);
    }),
  },
};
