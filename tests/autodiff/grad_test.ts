import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { grad, hvp } from "../../src/autodiff/grad.ts";
import { ShapeError } from "../../src/errors.ts";
import * as b from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import type { Attrs, Op } from "../../src/graph/attrs.ts";
import type { Shape } from "../../src/graph/shape.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { evaluateValues } from "../support/interpreter.ts";
import { randomGraphs } from "../support/random_graphs.ts";

function run(v: Value, feeds: Record<string, number[]>): number[] {
  return [...evaluateValues(v.graph, [v], { feeds })[0]!];
}

describe("grad", () => {
  it("is zero where nothing depends on the variable", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const y = b.feed(g, "y", [2]);
    assertEquals(run(grad(b.sumSquares(x), [y])[0]!, { x: [1, 2], y: [3, 4] }), [0, 0]);
  });

  it("stops at stop_gradient", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const [dx] = grad(b.sum(b.mul(x, b.stopGradient(x))), [x]);
    assertEquals(run(dx!, { x: [3, 5] }), [3, 5]);
  });

  it("reaches a variable that lies between others", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const h = b.mul(x, 3);
    const [dx, dh] = grad(b.sumSquares(h), [x, h]);
    assertEquals(run(dh!, { x: [1, 2] }), [6, 12]);
    assertEquals(run(dx!, { x: [1, 2] }), [18, 36]);
  });

  it("sums over every use", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    assertEquals(run(grad(b.sum(b.add(b.mul(x, x), b.mul(x, 2))), [x])[0]!, { x: [1, 2] }), [4, 6]);
  });

  it("multiplies by the cotangent", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const c = b.feed(g, "c", [2]);
    assertEquals(run(grad(b.mul(x, 3), [x], c)[0]!, { x: [1, 2], c: [1, 10] }), [3, 30]);
  });

  it("shares a maximum between ties", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    assertEquals(run(grad(b.max(x), [x])[0]!, { x: [2, 1, 2] }), [0.5, 0, 0.5]);
  });

  it("asks for a cotangent unless the output is a scalar", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    assertThrows(() => grad(x, [x]), ShapeError, "grad: expected a scalar");
  });

  it("of a Hessian-vector product of a cubic is exact", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const v = b.feed(g, "v", [2]);
    const cubic = b.sum(b.map([x], (a) => E.mul(a, E.mul(a, a))));
    assertEquals(run(hvp(cubic, x, v), { x: [1, 2], v: [1, 10] }), [6, 120]);
  });

  it("takes no gradient through draws", () => {
    const g = new Graph();
    const key = b.feed(g, "key", [4], "u32");
    const x = b.feed(g, "x", [1, 2]);
    const [dx] = grad(b.sum(b.mul(x, b.normal(key, "noise", [1, 2]))), [x]);
    const noise = b.normal(key, "noise", [1, 2]);
    assertEquals(run(dx!, { x: [1, 2], key: [1, 2, 3, 0] }), run(noise, { key: [1, 2, 3, 0] }));
  });

  it("leaves a graph that verifies, for any graph", () => {
    fc.assert(
      fc.property(randomGraphs(), ({ graph, feeds }) => {
        const total = graph.results.map((r) => b.scalar(b.sum(r.value))).reduce((x, y) => b.add(x, y));
        grad(total, feeds);
        verifyGraph(graph);
      }),
      { numRuns: 100 },
    );
  });
});

interface Refused<K extends Op> {
  readonly attrs: Attrs[K];
  readonly shapes: readonly Shape[];
}

const attention = { heads: 2, dropout: 0, stream: "", loop: 0 };
const REFUSED: { readonly [K in Op]?: Refused<K> } = {
  layer_norm: { attrs: { eps: 1e-5 }, shapes: [[2, 3], [3], [3]] },
  attention: { attrs: attention, shapes: [[1, 4, 12]] },
  mixture: { attrs: { components: 2 }, shapes: [[1, 2, 3], [1, 2, 24], [3]] },
};

describe("second derivatives that do not exist", () => {
  for (const [op, { attrs, shapes }] of Object.entries(REFUSED) as [Op, Refused<Op>][]) {
    it(`of ${op} are refused with the op, the layer and the reason`, () => {
      const g = new Graph();
      const inputs = shapes.map((shape, i) => b.feed(g, `x${i}`, shape));
      const y = g.scoped("flow.3", () => g.add(op, attrs, inputs)[0]!);
      const [dx] = grad(b.sum(y), [inputs[0]!]);
      assertThrows(
        () => grad(b.sumSquares(dx!), [inputs[0]!]),
        ShapeError,
        `grad: ${op}_grad in flow.3 is not differentiable: it is a fused backward operation`,
      );
    });
  }

  it("of the mixture's inverse are refused", () => {
    const g = new Graph();
    const inputs = [[1, 2, 3], [1, 2, 24], [3]].map((shape, i) => b.feed(g, `x${i}`, shape));
    const [x] = g.add("mixture_inverse", { components: 2 }, inputs);
    assertThrows(
      () => grad(b.sum(x!), [inputs[0]!]),
      ShapeError,
      "mixture_inverse is not differentiable: training differentiates the density direction only",
    );
  });

  it("of attention's log-sum-exp are refused", () => {
    const g = new Graph();
    const kvq = b.feed(g, "kvq", [1, 4, 12]);
    const [, lse] = g.add("attention", attention, [kvq]);
    assertThrows(() => grad(b.sum(lse!), [kvq]), ShapeError, "kept for the backward pass only");
  });

  it("are not asked for by what does not depend on them", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2, 3]);
    const gain = b.feed(g, "gain", [3]);
    const [y] = g.add("layer_norm", { eps: 1e-5 }, [x, gain, gain]);
    const [dx] = grad(b.sum(y!), [x]);
    const other = b.feed(g, "other", [2, 3]);
    assertEquals(grad(b.sum(b.mul(dx!, other)), [other])[0]!.shape, [2, 3]);
  });
});
