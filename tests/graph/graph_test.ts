import { assertEquals, assertNotStrictEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { ShapeError } from "../../src/errors.ts";
import * as b from "../../src/graph/build.ts";
import { Graph, type Node, type Result, type Value } from "../../src/graph/graph.ts";
import { printGraph } from "../../src/graph/print.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { interpret } from "../support/interpreter.ts";
import { randomGraphs } from "../support/random_graphs.ts";

function chain(): Graph {
  const g = new Graph();
  const x = b.feed(g, "x", [2, 3]);
  const w = b.state(g, "w", [3]);
  const { carried, stacked } = b.repeat(g, 4, [x], ([now]) => {
    const scale = b.exp(w); // does not change from step to step
    const next = b.mul(now!, scale);
    return { carried: [next], stacked: [b.sum(next)] };
  });
  g.fetch("y", carried[0]!);
  g.fetch("sums", stacked[0]!);
  g.assign("w", b.mul(w, 0.5));
  return g;
}

describe("printGraph", () => {
  it("prints one node a line, loops indented", () => {
    assertEquals(
      printGraph(chain()),
      `%0: f32[2x3] = feed() {"x" f32 2x3}
%1: f32[3] = state() {"w" 3}
%3: f32[3] = map(%1) {exp(x0)}
%4: f32[2x3] = view(%3) {2x3 @0 [0,1]}
%7: f32[2x3], %8: f32[4x1x1] = repeat(%0) {4 times}
  %2: f32[2x3] = param() {2x3}
  %5: f32[2x3] = map(%2, %4) {mul(x0, x1)}
  %6: f32[1x1] = reduce(%5) {sum [0,1]}
  yield %5, %6
%9: f32[3] = map(%1) {mul(x0, 0.5)}
fetch "y" %7
fetch "sums" %8
assign "w" %9`,
    );
  });
});

describe("Graph", () => {
  it("shares equal nodes, of outer blocks too", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    const e = b.exp(x);
    assertStrictEquals(b.exp(x), e);
    b.repeat(g, 2, [x], ([now]) => {
      assertStrictEquals(b.exp(x), e);
      return { carried: [b.add(now!, e)] };
    });
  });

  it("does not share draws of different streams, nor fresh nodes", () => {
    const g = new Graph();
    const key = b.feed(g, "key", [4], "u32");
    const a = b.normal(key, "a", [2]);
    assertStrictEquals(b.normal(key, "a", [2]), a);
    assertNotStrictEquals(b.normal(key, "b", [2]), a);
    const x = b.feed(g, "x", [2]);
    const fresh = (): Value => g.add("stop_gradient", {}, [x], { fresh: true })[0]!;
    assertNotStrictEquals(fresh(), fresh());
  });

  it("moves what a loop does not change in front of it", () => {
    const loop = chain().nodes.find((n) => n.op === "repeat");
    assertEquals(loop?.op === "repeat" && loop.attrs.region.nodes.map((n) => n.op), ["param", "map", "reduce"]);
  });

  it("keeps draws that differ from step to step inside", () => {
    const g = new Graph();
    const key = b.feed(g, "key", [4], "u32");
    const outside = b.normal(key, "noise", [2]);
    const { stacked } = b.repeat(
      g,
      3,
      [outside],
      ([now]) => ({ carried: [now!], stacked: [b.normal(key, "noise", [2])] }),
    );
    g.fetch("noise", stacked[0]!);
    const { fetches } = interpret(g, { feeds: { key: [7, 1, 0, 0] } });
    assertEquals(new Set(fetches.noise).size, 6);
  });

  it("refuses operands of another graph and results inside loops", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    const other = b.feed(new Graph(), "x", [3]);
    assertThrows(() => b.add(x, other), ShapeError, "expected operands of one graph");
    assertThrows(
      () =>
        b.repeat(g, 2, [x], ([now]) => {
          g.fetch("y", now!);
          return { carried: [now!] };
        }),
      ShapeError,
      "expected at top level",
    );
  });

  it("refuses one name twice", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    g.fetch("y", x);
    assertThrows(() => g.fetch("y", x), ShapeError, 'fetch "y": expected once, found twice');
    assertThrows(() => b.feed(g, "x", [4]), ShapeError, 'feed "x": expected one shape');
  });

  it("names the layer of each node", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    const y = g.scoped("flow", () => g.scoped("0", () => b.exp(x)));
    assertEquals(y.node.scope, "flow.0");
    assertEquals(g.scope, "");
  });
});

/** What verifyGraph reads of a graph, free to be wrong. */
function broken(nodes: readonly Node[], results: readonly Result[] = []): Graph {
  return { nodes, results } as unknown as Graph;
}

describe("verifyGraph", () => {
  it("accepts what builders make", () => {
    verifyGraph(chain());
    fc.assert(fc.property(randomGraphs(), ({ graph }) => verifyGraph(graph)), { numRuns: 100 });
  });

  it("finds uses before definitions", () => {
    assertThrows(
      () => verifyGraph(broken(chain().nodes.toReversed())),
      ShapeError,
      "expected operands defined before use",
    );
  });

  it("finds results of the wrong shape", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2, 3]);
    const { node } = b.exp(x);
    const bent = { ...node, outputs: [{ ...node.outputs[0]!, shape: [3, 2] }] } as unknown as Node;
    assertThrows(
      () => verifyGraph(broken([x.node, bent])),
      ShapeError,
      "expected result 0 of map to be 2x3, found 3x2",
    );
  });

  it("finds results of a loop that come from elsewhere", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [2]);
    const loop = b.repeat(g, 2, [x], ([now]) => ({ carried: [b.exp(now!)] })).carried[0]!.node;
    const later = b.mul(x, 3);
    if (loop.op !== "repeat") throw new Error("expected a repeat");
    const attrs = { ...loop.attrs, region: { ...loop.attrs.region, results: [later] } };
    const bent = { ...loop, attrs } as unknown as Node;
    bent.outputs.forEach((v) => Object.assign(v, { node: bent }));
    assertThrows(
      () => verifyGraph(broken([x.node, bent])),
      ShapeError,
      "expected the results of a repeat inside its body",
    );
  });

  it("finds assignments that do not fit their state", () => {
    const g = new Graph();
    const w = b.state(g, "w", [3]);
    g.assign("w", b.sum(w));
    assertThrows(() => verifyGraph(g), ShapeError, 'expected 3 for state "w", found 1');
  });

  it("finds results that are not in the graph", () => {
    const g = new Graph();
    const x = b.feed(g, "x", [3]);
    assertThrows(() => verifyGraph(broken([], [{ kind: "fetch", name: "y", value: x }])), ShapeError, 'fetch "y"');
  });
});
