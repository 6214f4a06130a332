import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { grad } from "../../src/autodiff/grad.ts";
import { ENERGY_DEFAULTS, ENERGY_KINDS, energyBlocks } from "../../src/energy/config.ts";
import { createEnergy } from "../../src/energy/network.ts";
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

  it("has the names and channels of the other kinds", () => {
    const shapes = (change: object) => {
      const params = new Params(new Graph(), "");
      createEnergy(params, { ...ENERGY_DEFAULTS, ...change });
      const count = params.trainable.reduce((sum, { spec }) => sum + spec.shape.reduce((a, b) => a * b, 1), 0);
      return { ...Object.fromEntries(params.specs.map((s) => [s.name, s.shape])), count, first: params.specs[0]!.name };
    };
    const plain: Record<string, unknown> = shapes({ kind: "plain", channels: 8 });
    assertEquals(plain["f.2.weight"], [16, 8, 4, 4]);
    assertEquals(plain["f.8.weight"], [100, 64, 4, 4]);
    const deep: Record<string, unknown> = shapes({ kind: "deep", channels: 4, blocks: 3 });
    assertEquals(deep["res_levels.0.0.conv2.weight"], [8, 4, 3, 3]);
    assertEquals(deep["res_levels.2.2.res.weight"], [16, 16, 3, 3]);
    assertEquals(deep["res_levels.3.0.res.weight"], undefined);
    assertEquals(deep["fc_out.weight"], [100, 16, 4, 4]);
    const spectral: Record<string, unknown> = shapes({ kind: "spectral", channels: 4, blocks: 2, shift: true });
    assertEquals([spectral.first, spectral["A"]], ["A", []]);
    assertEquals(spectral["res_levels.0.0.short_cut.bias"], undefined);
    assertEquals(spectral["res_levels.1.0.short_cut.weight_orig"], [8, 4, 3, 3]);
    assertEquals(spectral["res_levels.3.1.conv2_scale"], [1]);
    assertEquals(spectral["res_levels.3.1.conv2.weight_v"], [72]);
    assertEquals(spectral["res_levels.3.2.conv2_scale"], undefined);
    assertEquals(spectral["fc_out.weight_u"], [100]);
    assertThrows(() => shapes({ redraw: true }), ConfigError, "energy.redraw: expected false for kind res");
  });

  it("passes gradients to all parameters of every kind, and adds the shift", () => {
    for (const kind of ENERGY_KINDS) {
      const g = new Graph();
      const params = new Params(g, "");
      const size = { height: 8, width: 8, channelsIn: 1, channels: 2, blocks: 2 };
      const energy = createEnergy(params, { ...ENERGY_DEFAULTS, ...size, kind, shift: true });
      const f = energy.forward(feed(g, "x", [2, 8, 8, 1]));
      g.fetch("f", f);
      const trained = params.trainable;
      grad(sum(f), trained.map((p) => p.value)).forEach((v, i) => g.fetch(trained[i]!.spec.name, v));
      const states = Object.fromEntries(params.specs.map((s) => [s.name, s.init(1)]));
      // Weights that begin at zero would leave their neighbours without gradients.
      for (const [name, value] of Object.entries(states)) {
        if (/conv2\./.test(name)) states[name] = value.map((v) => v + 0.1);
      }
      const x = Array.from({ length: 128 }, (_, i) => Math.sin(i * i));
      const { fetches } = interpret(g, { feeds: { x }, states });
      assertEquals([...fetches["A"]!], [2]);
      for (const { spec } of trained) assert(fetches[spec.name]!.some((v) => v !== 0), `${kind} ${spec.name}`);
      const without = interpret(g, { feeds: { x }, states: { ...states, A: [0] } });
      assert(Math.abs(fetches.f![0]! + 3 - without.fetches.f![0]!) < 1e-6);
    }
  });

  it("sums every position that the last convolution leaves, and passes gradients to all parameters", () => {
    const g = new Graph();
    const params = new Params(g, "ebm.");
    const energy = createEnergy(params, { ...ENERGY_DEFAULTS, height: 6, width: 6, channelsIn: 1, channels: 2 });
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
