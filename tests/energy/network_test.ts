import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { grad } from "../../src/autodiff/grad.ts";
import { createEnergy, ENERGY_DEFAULTS, energyBlocks } from "../../src/energy/network.ts";
import { ConfigError } from "../../src/errors.ts";
import { feed, sum } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Params } from "../../src/nn/params.ts";
import { interpret } from "../support/interpreter.ts";

describe("energy network", () => {
  it("halves the size as often as it goes exactly and leaves at least 4", () => {
    const sizes: [number, number, number][] = [[32, 32, 3], [64, 64, 4], [8, 8, 1], [4, 4, 0], [28, 28, 2], [
      12,
      16,
      1,
    ]];
    for (const [h, w, blocks] of sizes) assertEquals(energyBlocks(h, w), blocks, `${h}x${w}`);
  });

  it("has the reference's names and channels", () => {
    const shapes = (height: number) => {
      const params = new Params(new Graph(), "ebm.");
      createEnergy(params, { ...ENERGY_DEFAULTS, height, width: height, channels: 2 });
      return Object.fromEntries(params.specs.map((s) => [s.name, s.shape]));
    };
    const small = shapes(32);
    assertEquals(small["ebm.f.0.weight"], [2, 3, 3, 3]);
    assertEquals(small["ebm.f.4.conv1.weight"], [8, 8, 3, 3]);
    assertEquals(small["ebm.f.4.res.weight"], [16, 8, 3, 3]);
    assertEquals(small["ebm.f.5.weight"], [100, 16, 4, 4]);
    const large = shapes(64);
    assertEquals(large["ebm.f.5.conv2.weight"], [16, 16, 3, 3]);
    assertEquals(large["ebm.f.6.bias"], [100]);
  });

  it("sums every position that the last convolution leaves, and passes gradients to all parameters", () => {
    const g = new Graph();
    const params = new Params(g, "ebm.");
    const energy = createEnergy(params, { kind: "res", height: 6, width: 6, channelsIn: 1, channels: 2 });
    const x = feed(g, "x", [2, 6, 6, 1]);
    const f = energy.forward(x);
    assertEquals(f.shape, [2]);
    g.fetch("f", f);
    const trained = params.trainable;
    grad(sum(f), trained.map((p) => p.value)).forEach((v, i) => g.fetch(trained[i]!.spec.name, v));
    const states = Object.fromEntries(params.specs.map((s) => [s.name, s.init(1)]));
    const image = Array.from({ length: 36 }, (_, i) => Math.sin(i));
    const { fetches } = interpret(g, { feeds: { x: [...image, ...image] }, states });
    assert(Math.abs(fetches.f![0]! - fetches.f![1]!) < 1e-12);
    for (const { spec } of trained) assert(fetches[spec.name]!.some((v) => v !== 0), spec.name);
    // 3×3 positions per image, two images: the end's bias is added 18 times.
    assertEquals([...fetches["ebm.f.2.bias"]!].every((v) => Math.abs(v - 18) < 1e-9), true);
  });

  it("names the field that is wrong", () => {
    const make = (change: object) => createEnergy(new Params(new Graph(), "ebm."), { ...ENERGY_DEFAULTS, ...change });
    assertThrows(() => make({ height: 3 }), ConfigError, "energy.height: expected an integer of at least 4, found 3");
    assertThrows(() => make({ channels: 0 }), ConfigError, "energy.channels: expected a positive integer, found 0");
  });
});
