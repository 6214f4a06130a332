import { assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { reconstruct } from "../../../src/coopflow/programs/reconstruct.ts";
import { ENERGY_DEFAULTS } from "../../../src/energy/config.ts";
import { interpret } from "../../support/interpreter.ts";
import { normals } from "../../../src/random.ts";

const ENERGY = { ...ENERGY_DEFAULTS, height: 4, width: 4, channelsIn: 1, channels: 2 };

describe("reconstruct", () => {
  it("moves along the error's gradient, masked values not counting", () => {
    const { graph, specs } = reconstruct({ energy: ENERGY, batch: 2, steps: 3, masked: true, range: [-9, 9] });
    const states = Object.fromEntries(specs.map((s) => [s.name, s.init(2).map((v) => 2 * v)]));
    const target = normals(1, "target", 32), start = [...normals(1, "start", 32)];
    const mask = Array.from({ length: 32 }, (_, i) => (i % 3 === 0 ? 0 : 1));
    const run = (x: readonly number[]) =>
      interpret(graph, { feeds: { target, start: x, mask, step_size: [0.7], rate: [0.1] }, states }).fetches;
    const { next, error, images } = run(start);
    const sums = [0, 0];
    images!.forEach((v, i) => sums[Math.floor(i / 16)]! += mask[i]! * (target[i]! - v) ** 2);
    error!.forEach((e, i) => assertAlmostEquals(e, sums[i]!, 1e-9));
    const total = (x: readonly number[]): number => run(x)["error"]!.reduce((a, b) => a + b, 0);
    const h = 1e-4;
    for (const i of [0, 5, 17, 31]) {
      const at = (d: number): number => total(start.map((v, k) => (k === i ? v + d : v)));
      const slope = (at(h) - at(-h)) / (2 * h);
      assertAlmostEquals((start[i]! - next![i]!) / 0.1, slope, 1e-4 * Math.max(1, Math.abs(slope)));
    }
  });

  it("keeps starts in their range, and reads averages where asked", () => {
    const { graph, specs } = reconstruct({ energy: ENERGY, batch: 1, steps: 1, averaged: true });
    assertEquals(specs.every(({ name }) => name.startsWith("ema.ebm.")), true);
    const states = Object.fromEntries(specs.map((s) => [s.name, s.init(2)]));
    const feeds = { target: new Array(16).fill(1), start: new Array(16).fill(-1), step_size: [0.1], rate: [1e3] };
    const { fetches } = interpret(graph, { feeds, states });
    assertEquals([...fetches["next"]!], new Array(16).fill(1));
  });
});
