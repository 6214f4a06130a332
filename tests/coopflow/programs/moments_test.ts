import { assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { moments } from "../../../src/coopflow/programs/moments.ts";
import { ENERGY_DEFAULTS } from "../../../src/energy/config.ts";
import { createEnergy } from "../../../src/energy/network.ts";
import { feed } from "../../../src/graph/build.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { Params } from "../../../src/nn/params.ts";
import { normals } from "../../../src/random.ts";
import { interpret } from "../../support/interpreter.ts";

const ENERGY = { ...ENERGY_DEFAULTS, height: 4, width: 4, channelsIn: 1, channels: 2 };

describe("moments", () => {
  it("are the weighted sums of ∂f/∂θ", () => {
    const { graph, specs } = moments({ energy: ENERGY, batch: 3, averaged: true });
    const states = Object.fromEntries(specs.map((s) => [s.name, [...s.init(2).map((v) => 2 * v)]]));
    const images = normals(1, "images", 48);
    const weight = [0.5, 0, 2];
    const { fetches } = interpret(graph, { feeds: { images, weight }, states });
    assertEquals(Object.keys(fetches), specs.map(({ name }) => name.slice("ema.ebm.".length)));

    const g = new Graph();
    g.fetch("f", createEnergy(new Params(g, "ema.ebm."), ENERGY).forward(feed(g, "images", [3, 4, 4, 1])));
    const total = (changed: Record<string, number[]>): number =>
      interpret(g, { feeds: { images }, states: changed }).fetches["f"]!.reduce((sum, f, n) => sum + weight[n]! * f, 0);
    const h = 1e-4;
    for (const { name } of specs) {
      const value = states[name]!;
      const i = value.length - 1;
      const at = (d: number): number => total({ ...states, [name]: value.with(i, value[i]! + d) });
      const slope = (at(h) - at(-h)) / (2 * h);
      assertAlmostEquals(fetches[name.slice("ema.ebm.".length)]![i]!, slope, 1e-5 * Math.max(1, Math.abs(slope)), name);
    }
  });
});
