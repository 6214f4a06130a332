import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { AffineCoupling } from "../../src/flow/affine_coupling.ts";
import { ActNorm } from "../../src/flow/act_norm.ts";
import { couplingSteps } from "../../src/flow/flow_plus_plus.ts";
import { InvConv } from "../../src/flow/inv_conv.ts";
import { Logit } from "../../src/flow/logit.ts";
import { type CouplingOptions, MixtureCoupling } from "../../src/flow/mixture_coupling.ts";
import { PointFlow } from "../../src/flow/point_flow.ts";
import { Flip, OnHalves } from "../../src/flow/reshapes.ts";
import type { Bijector, Pair } from "../../src/flow/bijector.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { evaluation } from "../../src/nn/context.ts";
import { Params } from "../../src/nn/params.ts";
import { interpret } from "../support/interpreter.ts";
import {
  type BatteryCase,
  checkGradients,
  checkInverse,
  checkLogDet,
  distance,
  gaussian,
  ofImage,
  ofPair,
} from "./support.ts";

const ctx = evaluation();
const HALF = [2, 2, 2, 2];
const options: CouplingOptions = { channels: 4, blocks: 1, components: 3, dropout: 0, attention: true };

const pairs = (make: (p: Params) => Bijector<Pair>) => (p: Params) => {
  const b = make(p);
  return ofPair({ forward: (x, aux) => b.forward(ctx, x, aux), inverse: (y, aux) => b.inverse(ctx, y, aux) });
};
const images = (make: (p: Params) => Bijector<Value>) => (p: Params) => {
  const b = make(p);
  return ofImage({ forward: (x) => b.forward(ctx, x), inverse: (y) => b.inverse(ctx, y) });
};

const CASES: Record<string, BatteryCase> = {
  "activation norm": { shapes: [HALF, HALF], build: pairs((p) => new ActNorm(p, 2)) },
  "1×1 convolution": { shapes: [HALF, HALF], build: pairs((p) => new InvConv(p, 2)) },
  "flip": { shapes: [HALF, HALF], build: pairs(() => new Flip()) },
  "mixture coupling": { shapes: [HALF, HALF], build: pairs((p) => new MixtureCoupling(p, 2, options)) },
  "conditioned mixture coupling": {
    shapes: [HALF, HALF],
    aux: [2, 2, 2, 3],
    build: pairs((p) => new MixtureCoupling(p, 2, { ...options, auxChannels: 3 })),
  },
  "mixture coupling without attention": {
    shapes: [HALF, HALF],
    build: pairs((p) => new MixtureCoupling(p, 2, { ...options, attention: false })),
  },
  "affine coupling": { shapes: [HALF, HALF], build: pairs((p) => new AffineCoupling(p, 2, "affine", options)) },
  "conditioned affine coupling": {
    shapes: [HALF, HALF],
    aux: [2, 2, 2, 3],
    build: pairs((p) => new AffineCoupling(p, 2, "affine", { ...options, auxChannels: 3 })),
  },
  "additive coupling": { shapes: [HALF, HALF], build: pairs((p) => new AffineCoupling(p, 2, "additive", options)) },
  "a step with an affine coupling": {
    shapes: [HALF, HALF],
    build: pairs((p) => couplingSteps(p, 1, 2, { ...options, invConv: true, coupling: "affine" })),
  },
  "mixture coupling with a perceptron": {
    shapes: [HALF, HALF],
    aux: [2, 2, 2, 3],
    build: pairs((p) => new MixtureCoupling(p, 2, { ...options, network: "perceptron", auxChannels: 3 })),
  },
  "affine coupling with a perceptron": {
    shapes: [HALF, HALF],
    build: pairs((p) => new AffineCoupling(p, 2, "affine", { ...options, network: "perceptron" })),
  },
  "a flow of points": {
    shapes: [[4, 1, 1, 2]],
    build: images((p) => {
      const flow = new PointFlow(p, { steps: 2, coupling: "mixture", channels: 4, layers: 1, components: 3 });
      return {
        forward: (ctx, x) => {
          const { z, logDet } = flow.density(ctx, x);
          return { y: z, logDet };
        },
        inverse: (ctx, y) => flow.sample(ctx, y),
      };
    }),
  },
  "two steps": { shapes: [HALF, HALF], build: pairs((p) => couplingSteps(p, 2, 2, { ...options, invConv: true })) },
  "a step without 1×1 convolution": {
    shapes: [HALF, HALF],
    build: pairs((p) => couplingSteps(p, 1, 2, { ...options, invConv: false })),
  },
  "checkerboard step": {
    shapes: [[2, 2, 4, 1]],
    build: images((p) => new OnHalves(couplingSteps(p, 1, 1, { ...options, invConv: true }), "checkerboard")),
  },
  "channelwise step": {
    shapes: [[2, 2, 2, 2]],
    build: images((p) => new OnHalves(couplingSteps(p, 1, 1, { ...options, invConv: true }), "channelwise")),
  },
  "logit": { shapes: [[2, 2, 2, 1]], domain: (v) => 1 / (1 + Math.exp(-v)), build: images(() => new Logit()) },
};

describe("bijectors", () => {
  for (const [name, test] of Object.entries(CASES)) {
    it(`${name}: the inverse undoes it`, () => checkInverse(test));
    it(`${name}: the log-determinant is the Jacobian's`, () => checkLogDet(test));
    it(`${name}: every parameter gets a gradient`, () => checkGradients(test));
  }
});

describe("ActNorm", () => {
  it("initialised from data gives mean 0 and variance 1, and stores what it used", () => {
    const g = new Graph();
    const layer = new ActNorm(new Params(g, "a."), 2);
    const x = { first: feed(g, "x0", [3, 2, 2, 2]), second: feed(g, "x1", [3, 2, 2, 2]) };
    const { y } = layer.forward({ ...ctx, mode: "initialise" }, x);
    g.fetch("y0", y.first);
    g.fetch("y1", y.second);
    const data = [gaussian("x0", 24).map((v) => 5 + 3 * v), gaussian("x1", 24).map((v) => 0.1 * v - 2)];
    const feeds = { x0: data[0]!, x1: data[1]! };
    const { fetches, assigns } = interpret(g, { feeds, states: {} });
    for (const half of ["y0", "y1"]) {
      for (const c of [0, 1]) {
        const values = fetches[half]!.filter((_, i) => i % 2 === c);
        const mean = values.reduce((a, b) => a + b) / values.length;
        const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
        // Constants such as 1/12 are float32.
        assert(Math.abs(mean) < 1e-6, `mean ${mean}`);
        assert(Math.abs(variance - 1) < 1e-4, `variance ${variance}`);
      }
    }
    assertEquals([...assigns["a.is_initialized"]!], [1]);

    const used = new Graph();
    const again = new ActNorm(new Params(used, "a."), 2);
    const z = again.forward(ctx, { first: feed(used, "x0", [3, 2, 2, 2]), second: feed(used, "x1", [3, 2, 2, 2]) });
    used.fetch("y0", z.y.first);
    assert(distance(interpret(used, { feeds, states: assigns }).fetches.y0!, fetches.y0!) < 1e-12);
  });
});
