import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { grad } from "../../src/autodiff/grad.ts";
import { PointEnergy } from "../../src/energy/point_energy.ts";
import { feed, scalar, sum } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Params } from "../../src/nn/params.ts";
import { gaussian, randomStates } from "../flow/support.ts";
import { interpret } from "../support/interpreter.ts";

const N = 5;

function energies(x: ArrayLike<number>, scale = 2): { f: Float64Array; slope: Float64Array } {
  const g = new Graph();
  const network = new PointEnergy(new Params(g, "ebm."), { channels: 6, layers: 2, scale });
  const points = feed(g, "x", [N, 1, 1, 2]);
  const f = network.forward(points);
  assertEquals(f.shape, [N]);
  g.fetch("f", f);
  g.fetch("slope", grad(scalar(sum(f)), [points])[0]!);
  const { fetches } = interpret(g, { feeds: { x }, states: randomStates(network.params.specs) });
  return { f: fetches.f!, slope: fetches.slope! };
}

describe("PointEnergy", () => {
  const x = gaussian("points", 2 * N);

  it("has the slope that finite differences have", () => {
    const { slope } = energies(x);
    const step = 1e-5;
    for (let i = 0; i < 2 * N; i++) {
      const [above, below] = [step, -step].map((h) => energies(x.map((v, j) => j === i ? v + h : v)).f);
      const row = Math.floor(i / 2);
      const difference = (above![row]! - below![row]!) / (2 * step);
      assert(Math.abs(slope[i]! - difference) < 1e-7, `${i}: ${slope[i]} and ${difference}`);
    }
  });

  it("is relative to a normal distribution", () => {
    const [near, far] = [energies(x, 2).f, energies(x, 1).f];
    for (let n = 0; n < N; n++) {
      const squares = x[2 * n]! ** 2 + x[2 * n + 1]! ** 2;
      assert(Math.abs(near[n]! - far[n]! - (0.5 - 0.125) * squares) < 1e-9);
    }
  });
});
