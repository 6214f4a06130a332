import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { grad } from "../../src/autodiff/grad.ts";
import * as b from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import { Graph, type Node, type Value } from "../../src/graph/graph.ts";
import { evaluateValues } from "../support/interpreter.ts";

const COLUMNS = 128;

/** Everything that v depends on. */
function below(v: Value, seen: Set<Node> = new Set()): Set<Node> {
  if (!seen.has(v.node)) {
    seen.add(v.node);
    for (const x of v.node.inputs) below(x, seen);
  }
  return seen;
}

/** h = x·tanh(x) + 1, [1, rows, COLUMNS]; y = Σ (h·w)²; the gradients of y by x and w. */
function build(rows: number): { h: Value; grads: Value[] } {
  const g = new Graph();
  const x = b.feed(g, "x", [1, rows, COLUMNS]);
  const w = b.feed(g, "w", [1, COLUMNS, 2]);
  const t = b.map([x], E.tanh);
  const h = b.map([x, t], (a, c) => E.add(E.mul(a, c), 1));
  return { h, grads: grad(b.sumSquares(b.matmul(h, w)), [x, w]) };
}

describe("element-wise results in a backward pass", () => {
  it("are made again where they are large, from what is kept", () => {
    const { h, grads } = build(256);
    const again = [...below(grads[1]!)].filter((n) => n.op === "map" && n !== h.node && n.attrs === h.node.attrs);
    assertEquals(again.length, 1);
    assert(again[0]!.inputs[1] !== h.node.inputs[1], "what it is made from should have been made again, too");
  });

  it("are kept where they are small", () => {
    const { h, grads } = build(2);
    assertEquals([...below(grads[1]!)].filter((n) => n.op === "map" && n.attrs === h.node.attrs), [h.node]);
  });

  it("have the gradients that their formula has", () => {
    const rows = 256;
    const { h, grads } = build(rows);
    const draw = (n: number, k: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(k * i + 1));
    const feeds = { x: draw(rows * COLUMNS, 0.37), w: draw(2 * COLUMNS, 0.91) };
    const [dx, dw] = evaluateValues(h.graph, grads, { feeds });
    const at = (x: number): number => x * Math.tanh(x) + 1;
    const slope = (x: number): number => Math.tanh(x) + x * (1 - Math.tanh(x) ** 2);
    const product = (r: number, o: number): number => {
      let sum = 0;
      for (let c = 0; c < COLUMNS; c++) sum += at(feeds.x[r * COLUMNS + c]!) * feeds.w[2 * c + o]!;
      return sum;
    };
    const close = (found: number, expected: number): void =>
      assert(Math.abs(found - expected) <= 1e-9 * (1 + Math.abs(expected)), `expected ${expected}, found ${found}`);
    for (const [r, c] of [[0, 0], [100, 17], [255, 127]] as const) {
      const bar = 2 * (product(r, 0) * feeds.w[2 * c]! + product(r, 1) * feeds.w[2 * c + 1]!);
      close(dx![r * COLUMNS + c]!, bar * slope(feeds.x[r * COLUMNS + c]!));
    }
    let expected = 0;
    for (let r = 0; r < rows; r++) expected += 2 * product(r, 1) * at(feeds.x[r * COLUMNS + 5]!);
    close(dw![2 * 5 + 1]!, expected);
  });
});
