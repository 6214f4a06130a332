import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ShapeError } from "../../src/errors.ts";
import * as b from "../../src/graph/build.ts";
import { constant, input } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import type { Attrs, Op } from "../../src/graph/attrs.ts";

const attention = { heads: 2, dropout: 0, stream: "mask", loop: 0 };
const window = { offset: 0, shape: [2], strides: [1] };

/** Operands (their shapes; "key" is a draw's key) and attributes that do not fit, and what the message says. */
type Misfit<K extends Op> = {
  readonly attrs: Attrs[K];
  readonly inputs: readonly (readonly number[] | "key")[];
  readonly says: string;
};

const MISFITS: { readonly [K in Op]: readonly Misfit<K>[] } = {
  feed: [{ attrs: { name: "x", dtype: "f32", shape: [2] }, inputs: [[2]], says: "expected 0 operands, found 1" }],
  state: [{ attrs: { name: "x", shape: [2] }, inputs: [[2]], says: "expected 0 operands" }],
  param: [{ attrs: { shape: [2] }, inputs: [[2]], says: "expected 0 operands" }],
  constant: [{
    attrs: { data: new Float32Array(3), shape: [2], key: "k" },
    inputs: [],
    says: "expected 2 values for 2, found 3",
  }],
  map: [
    { attrs: { expr: input(0), shape: [2] }, inputs: [[3]], says: "expected float32 operands of 2, found 3" },
    { attrs: { expr: input(1), shape: [2] }, inputs: [[2]], says: "expected an operand for x1" },
    { attrs: { expr: constant(1), shape: [4] }, inputs: ["key"], says: "expected float32 operands" },
  ],
  reduce: [{ attrs: { kind: "sum", axes: [2] }, inputs: [[2, 2]], says: "expected axes inside the rank" }],
  view: [
    {
      attrs: { layout: { offset: 1, shape: [2], strides: [1] } },
      inputs: [[2]],
      says: "expected a window inside 2 elements",
    },
    { attrs: { layout: { offset: 0, shape: [2], strides: [-1] } }, inputs: [[2]], says: "non-negative stride" },
    { attrs: { layout: { offset: 0, shape: [0], strides: [1] } }, inputs: [[2]], says: "positive integer sizes" },
    {
      attrs: { layout: { offset: 0, shape: [1, 1, 1, 1, 1, 1, 2], strides: [0, 0, 0, 0, 0, 0, 1] } },
      inputs: [[2]],
      says: "at most 6 dimensions",
    },
  ],
  assemble: [
    { attrs: { shape: [4], parts: [window] }, inputs: [[2], [2]], says: "expected 1 operands" },
    { attrs: { shape: [4], parts: [window] }, inputs: [[3]], says: "windows of the operands' shapes" },
    {
      attrs: { shape: [4], parts: [{ offset: 0, shape: [2], strides: [0] }] },
      inputs: [[2]],
      says: "writes each element once",
    },
  ],
  matmul: [{ attrs: {}, inputs: [[1, 2, 3], [1, 2, 3]], says: "expected [b,m,k] and [b,k,n], found 1x2x3, 1x2x3" }],
  conv: [
    { attrs: { stride: 1, padding: 1 }, inputs: [[1, 4, 4, 3], [5, 2, 3, 3]], says: "expected x [N,H,W,I]" },
    { attrs: { stride: 1, padding: 0 }, inputs: [[1, 2, 2, 3], [5, 3, 3, 3]], says: "positive integer sizes" },
  ],
  conv_data_grad: [
    {
      attrs: { stride: 1, padding: 1, height: 5, width: 4 },
      inputs: [[1, 4, 4, 5], [5, 3, 3, 3]],
      says: "convolution of 5x4 images",
    },
  ],
  conv_weight_grad: [{
    attrs: { stride: 1, padding: 1, kernel: 4 },
    inputs: [[1, 4, 4, 3], [1, 4, 4, 5]],
    says: "its 4x4 convolution",
  }],
  random: [{
    attrs: { kind: "normal", stream: "z", shape: [2], loop: 0 },
    inputs: [[4]],
    says: "expected a u32[4] key",
  }],
  layer_norm: [{ attrs: { eps: 1e-5 }, inputs: [[2, 3], [2], [3]], says: "gain [C]" }],
  layer_norm_grad: [{ attrs: { eps: 1e-5 }, inputs: [[2, 3], [3], [2, 4]], says: "dy like x" }],
  attention: [
    { attrs: attention, inputs: [[1, 4, 10]], says: "3c" },
    { attrs: { ...attention, dropout: 0.2 }, inputs: [[1, 4, 12]], says: "key exactly when dropout > 0" },
    { attrs: attention, inputs: [[1, 4, 12], "key"], says: "key exactly when dropout > 0" },
  ],
  attention_grad: [
    { attrs: { heads: 2, dropout: 0 }, inputs: [[1, 4, 12], [1, 4, 4], [1, 2, 3], [1, 4, 4]], says: "log-sum-exp" },
    {
      attrs: { heads: 2, dropout: 0.2 },
      inputs: [[1, 4, 12], [1, 4, 4], [1, 2, 4], [1, 4, 4]],
      says: "kept weights exactly when dropout > 0",
    },
    {
      attrs: { heads: 2, dropout: 0.2 },
      inputs: [[1, 4, 12], [1, 4, 4], [1, 2, 4], [1, 4, 4], [1, 2, 1]],
      says: "kept weights exactly when dropout > 0",
    },
  ],
  mixture: [{ attrs: { components: 2 }, inputs: [[1, 4, 3], [1, 4, 23], [3]], says: "p [N,P,C" }],
  mixture_grad: [{
    attrs: { components: 2 },
    inputs: [[1, 4, 3], [1, 4, 24], [3], [1, 4, 3], [2]],
    says: "dlogdet [N]",
  }],
  mixture_inverse: [{ attrs: { components: 2 }, inputs: [[1, 4, 3], [1, 4, 24], [4]], says: "rescale [C]" }],
  matrix_inverse: [{ attrs: {}, inputs: [[2, 3]], says: "expected a square matrix, found 2x3" }],
  log_abs_det: [{ attrs: {}, inputs: [[4]], says: "expected a square matrix, found 4" }],
  stop_gradient: [{ attrs: {}, inputs: [], says: "expected 1 operands, found 0" }],
  repeat: [
    {
      attrs: { count: 0, region: { params: [], nodes: [], results: [] }, carried: 0, reversed: false },
      inputs: [],
      says: "positive count",
    },
  ],
};

describe("shape rules", () => {
  for (const op of Object.keys(MISFITS) as Op[]) {
    it(`of ${op} say what was expected and found`, () => {
      for (const { attrs, inputs, says } of MISFITS[op] as readonly Misfit<Op>[]) {
        const g = new Graph();
        const operands = inputs.map((
          shape,
          i,
        ): Value => (shape === "key" ? b.feed(g, `k${i}`, [4], "u32") : b.feed(g, `x${i}`, shape)));
        const error = assertThrows(() => g.add(op, attrs, operands), ShapeError, says);
        assertEquals(error.message.startsWith(op), true, error.message);
        assertEquals(error.message.endsWith("."), false);
      }
    });
  }
});

describe("builders", () => {
  const g = new Graph();
  const x = b.feed(g, "x", [2, 4, 6]);

  it("compose windows into one", () => {
    const y = b.slice(b.transpose(b.slice(x, 1, 1, 3), [2, 0, 1]), 0, 2, 5);
    assertEquals(y.node.op === "view" && y.node.inputs[0], x);
    assertEquals(y.shape, [3, 2, 2]);
  });

  it("return the operand where nothing changes", () => {
    assertEquals(b.reshape(b.reshape(x, [8, 6]), [2, 4, 6]), x);
    const one = b.feed(g, "one", [1, 1]);
    assertEquals(b.sum(one), one);
    assertEquals(b.broadcast(x, [2, 4, 6]), x);
    assertEquals(b.concat([x], 1), x);
  });

  it("fold fills into expressions", () => {
    const y = b.add(x, b.fill(g, 2, [6]));
    assertEquals(y.node.op === "map" && y.node.inputs, [x]);
  });

  it("count negative axes from the end", () => {
    assertEquals(b.sum(x, [-1]).shape, [2, 4, 1]);
    assertEquals(b.split(x, 3, -1).map((v) => v.shape), [[2, 4, 2], [2, 4, 2], [2, 4, 2]]);
  });

  it("say what does not fit", () => {
    assertThrows(() => b.reshape(x, [5, 10]), ShapeError, "reshape: expected 48 elements");
    assertThrows(() => b.split(x, 5, 1), ShapeError, "split: expected a size divisible by 5");
    assertThrows(() => b.broadcast(x, [2, 4, 7]), ShapeError, "broadcast: expected");
    assertThrows(() => b.concat([], 0), ShapeError, "concat: expected at least one tensor");
    assertThrows(() => b.avgPool2(b.feed(g, "odd", [1, 3, 4, 1])), ShapeError, "avgPool2: expected even");
  });
});
