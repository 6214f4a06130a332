import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { feed } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Params } from "../../src/nn/params.ts";
import { SpectralConv, type SpectralOptions } from "../../src/nn/spectral_norm.ts";
import { interpret } from "../support/interpreter.ts";

type States = Record<string, ArrayLike<number>>;

/** Runs a layer 2 → 3 of 1×1 kernels on the unit images, so that the outputs are the normalised weight's columns, plus the bias. */
function run(
  options: Partial<SpectralOptions>,
  states: States | undefined,
  step: boolean,
): { y: number[]; states: States } {
  const g = new Graph();
  const params = new Params(g, "");
  const layer = new SpectralConv(params, 2, 3, 1, { padding: 0, redraw: false, ...options });
  if (step) { for (const { name, next } of layer.step()) g.assign(name, next); }
  g.fetch("y", layer.forward(feed(g, "x", [2, 1, 1, 2])));
  const from = { ...Object.fromEntries(params.specs.map((s) => [s.name, s.init(1)])), ...states };
  const { fetches, assigns } = interpret(g, { feeds: { x: [1, 0, 0, 1] }, states: from });
  return { y: [...fetches["y"]!], states: { ...from, ...assigns } };
}

describe("spectral norm", () => {
  it("finds the largest singular value, and only shrinks", () => {
    // Singular values 5 and 1.
    const weight_orig = [3, 0.8, 4, -0.6, 0, 0];
    for (const [scale, norm] of [[1, 1], [0.1, 0.5], [10, 1]] as const) {
      let states: States = { weight_orig: weight_orig.map((v) => v * scale), bias: [0, 0, 0] };
      for (let i = 0; i < 30; i++) ({ states } = run({}, states, true));
      const { y } = run({}, states, false);
      assertAlmostEquals(Math.hypot(...y.slice(0, 3)), norm, 1e-5);
      assertAlmostEquals(Math.hypot(...y.slice(3)), norm / 5, 1e-5);
      assertAlmostEquals(Math.hypot(...states["weight_u"] as number[]), 1, 1e-9);
    }
  });

  it("uses the new vectors in the run that makes them", () => {
    const states = { weight_orig: [3, 0.8, 4, -0.6, 0, 0], bias: [0, 0, 0] };
    const first = run({}, states, true);
    assertEquals(run({}, first.states, false).y, first.y);
  });

  it("loses the vectors of a weight of zeros, unless they are drawn again", () => {
    for (const redraw of [false, true]) {
      const zero = run({ zeroWeight: true, zeroBias: true, redraw }, undefined, true).states;
      assertEquals([...zero["weight_u"] as number[]], [0, 0, 0]);
      const { states } = run({ redraw }, { ...zero, weight_orig: [3, 0.8, 4, -0.6, 0, 0] }, true);
      assertEquals((states["weight_u"] as number[]).some((v) => v !== 0), redraw);
    }
  });

  it("starts with unit vectors", () => {
    const params = new Params(new Graph(), "");
    new SpectralConv(params, 2, 3, 3, { padding: 1, redraw: false });
    for (const [name, size] of [["weight_u", 3], ["weight_v", 18]] as const) {
      const spec = params.specs.find((s) => s.name === name);
      assert(spec && spec.kind === "buffer");
      assertEquals(spec.shape, [size]);
      assertAlmostEquals(Math.hypot(...spec.init(3)), 1, 1e-6);
    }
  });
});
