import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ShapeError } from "../../src/errors.ts";
import {
  joinChannels,
  joinCheckerboard,
  splitChannels,
  splitCheckerboard,
  squeeze,
  unsqueeze,
} from "../../src/flow/reshapes.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { numel } from "../../src/graph/shape.ts";
import { interpret } from "../support/interpreter.ts";

/** Runs a rearrangement of the numbers 0, 1, 2, …. */
function rearranged(shape: number[], build: (x: Value) => Value[]): number[][] {
  const g = new Graph();
  const out = build(feed(g, "x", shape));
  out.forEach((v, i) => g.fetch(`${i}`, v));
  const { fetches } = interpret(g, { feeds: { x: Array.from({ length: numel(shape) }, (_, i) => i) } });
  return out.map((_, i) => [...fetches[`${i}`]!]);
}
const identity = (shape: number[]): number[] => Array.from({ length: numel(shape) }, (_, i) => i);

describe("rearrangements", () => {
  it("checkerboard: equal parities of row and column first", () => {
    const halves = rearranged([1, 2, 4, 1], (x) => Object.values(splitCheckerboard(x)));
    assertEquals(halves, [[0, 2, 5, 7], [1, 3, 4, 6]]);
  });

  it("squeeze: channel c·4 + (dy·2 + dx)", () => {
    const [y] = rearranged([1, 2, 2, 2], (x) => [squeeze(x)]);
    assertEquals(y, [0, 2, 4, 6, 1, 3, 5, 7]);
  });

  it("are undone exactly", () => {
    for (const shape of [[1, 2, 2, 1], [2, 4, 6, 3], [3, 2, 8, 4]]) {
      const [a, b] = rearranged(shape, (x) => [joinCheckerboard(splitCheckerboard(x)), unsqueeze(squeeze(x))]);
      assertEquals(a, identity(shape));
      assertEquals(b, identity(shape));
    }
  });

  it("channel halves of one tensor join to that tensor, of two to their concatenation", () => {
    const g = new Graph();
    const x = feed(g, "x", [2, 2, 2, 4]);
    const { first, second } = splitChannels(x);
    assertEquals(joinChannels({ first, second }) === x, true);
    assertEquals(joinChannels({ first: second, second: first }).node.op, "assemble");
  });

  it("refuse odd sizes", () => {
    const g = new Graph();
    assertThrows(
      () => splitCheckerboard(feed(g, "x", [1, 3, 2, 1])),
      ShapeError,
      "even height and width, found 1x3x2x1",
    );
    assertThrows(() => unsqueeze(feed(g, "y", [1, 2, 2, 3])), ShapeError, "multiple of 4 channels");
  });
});
