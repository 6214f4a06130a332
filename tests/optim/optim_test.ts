import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UsageError } from "../../src/errors.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { filled } from "../../src/nn/initializers.ts";
import { Params } from "../../src/nn/params.ts";
import { type AdamOptions, adamStep, biasCorrections } from "../../src/optim/adam.ts";
import { clipFactor, globalNorm } from "../../src/optim/clip.ts";
import { averageDecay, cosineDecay, linearDecay, stepDecay, warmUp } from "../../src/optim/schedules.ts";
import { interpret } from "../support/interpreter.ts";

const close = (a: number, b: number, tolerance = 1e-6): void => assert(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

describe("globalNorm", () => {
  it("is the norm of all tensors together, however many", () => {
    const g = new Graph();
    const count = 40;
    const list = Array.from({ length: count }, (_, i) => feed(g, `g${i}`, [2, 3]));
    const norm = globalNorm(list);
    assertEquals(norm.shape, []);
    g.fetch("norm", norm);
    const feeds = Object.fromEntries(
      list.map((_, i) => [`g${i}`, Array.from({ length: 6 }, (_, k) => Math.sin(7 * i + k))]),
    );
    close(interpret(g, { feeds }).fetches.norm![0]!, Math.hypot(...Object.values(feeds).flat()), 1e-9);
    assertThrows(() => globalNorm([]), UsageError, "expected at least one gradient");
  });

  it("clips by min(1, c/(norm + 1e-6))", () => {
    const g = new Graph();
    g.fetch("f", clipFactor(feed(g, "n", []), feed(g, "c", [])));
    const factor = (n: number, c: number) => interpret(g, { feeds: { n: [n], c: [c] } }).fetches.f![0]!;
    close(factor(4, 1), 0.25);
    assertEquals(factor(0.5, 1), 1);
    assertEquals(factor(0, 1), 1);
    assertEquals(factor(1e30, Infinity), 1);
  });
});

describe("adamStep", () => {
  const options = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
  const build = (more: Partial<AdamOptions> = {}) => {
    const g = new Graph();
    const params = new Params(g, "m.");
    params.param("w", [3], filled([3], 1), "gain");
    const [param] = params.trainable;
    const specs = adamStep(
      [{ param: param!, gradient: feed(g, "grad", [3]), factor: feed(g, "factor", []), weightDecay: 0.1 }],
      {
        options: { ...options, ...more },
        scalars: { lr: feed(g, "lr", []), c1: feed(g, "c1", []), c2: feed(g, "c2", []) },
        ok: feed(g, "ok", []),
        averageDecay: feed(g, "decay", []),
      },
    );
    return { g, specs };
  };

  it("follows PyTorch's Adam with L2 decay after clipping, and averages the result", () => {
    const { g, specs } = build();
    assertEquals(specs.map((s) => [s.name, s.kind]), [["adam.m.m.w", "moment"], ["adam.v.m.w", "moment"], [
      "ema.m.w",
      "average",
    ]]);
    assertEquals([...specs[2]!.init(0)], [1, 1, 1]);
    let states: Record<string, ArrayLike<number>> = {
      "m.w": [1, -2, 3],
      "adam.m.m.w": [0, 0, 0],
      "adam.v.m.w": [0, 0, 0],
      "ema.m.w": [1, -2, 3],
    };
    const p = [1, -2, 3], m = [0, 0, 0], v = [0, 0, 0], average = [1, -2, 3];
    for (let t = 1; t <= 3; t++) {
      const gradient = [0.3 * t, -1, 20];
      const { c1, c2 } = biasCorrections(options, t);
      const feeds = { grad: gradient, factor: [0.5], lr: [0.01], c1: [c1], c2: [c2], ok: [1], decay: [0.75] };
      const { assigns } = interpret(g, { feeds, states });
      for (let i = 0; i < 3; i++) {
        const s = 0.5 * gradient[i]! + 0.1 * p[i]!;
        m[i] = 0.9 * m[i]! + 0.1 * s;
        v[i] = 0.99 * v[i]! + 0.01 * s * s;
        p[i]! -= 0.01 * (m[i]! / (1 - 0.9 ** t)) / (Math.sqrt(v[i]! / (1 - 0.99 ** t)) + 1e-8);
        average[i] = 0.75 * average[i]! + 0.25 * p[i]!;
        close(assigns["m.w"]![i]!, p[i]!);
        close(assigns["adam.m.m.w"]![i]!, m[i]!);
        close(assigns["adam.v.m.w"]![i]!, v[i]!, 1e-5);
        close(assigns["ema.m.w"]![i]!, average[i]!);
      }
      states = assigns;
    }
  });

  it("limits each element of a gradient, and decays beside the step as AdamW does", () => {
    const { g } = build({ clipValue: 0.25, decoupledDecay: 0.2 });
    const p = [1, -2, 3];
    const states = { "m.w": p, "adam.m.m.w": [0, 0, 0], "adam.v.m.w": [0, 0, 0], "ema.m.w": p };
    const { c1, c2 } = biasCorrections(options, 1);
    const feeds = { grad: [0.3, -1, 20], factor: [0.5], lr: [0.01], c1: [c1], c2: [c2], ok: [1], decay: [0] };
    const { assigns } = interpret(g, { feeds, states });
    [0.15, -0.25, 0.25].forEach((clipped, i) => {
      const slope = clipped + 0.1 * p[i]!;
      close(assigns["adam.m.m.w"]![i]!, 0.1 * slope);
      // The first step has the length of the rate, whatever the gradient.
      close(assigns["m.w"]![i]!, p[i]! * (1 - 0.01 * 0.2) - 0.01 * Math.sign(slope), 1e-6);
    });
  });

  it("keeps every bit when the gate is shut, whatever the gradient is", () => {
    const { g } = build();
    const states = { "m.w": [1, -2, 3], "adam.m.m.w": [4, 5, 6], "adam.v.m.w": [7, 8, 9], "ema.m.w": [0.1, 0.2, 0.3] };
    const feeds = { grad: [NaN, Infinity, 1], factor: [NaN], lr: [1], c1: [1], c2: [1], ok: [0], decay: [0.5] };
    const { assigns } = interpret(g, { feeds, states });
    for (const [name, values] of Object.entries(states)) assertEquals([...assigns[name]!], values);
  });
});

describe("schedules", () => {
  it("warm up one update behind", () => {
    assertEquals([0, 1, 2, 101, 201, 5000].map((i) => warmUp(i, 200)), [0, 0, 1 / 200, 0.5, 1, 1]);
    assertEquals(warmUp(0, 0), 1);
  });

  it("decay linearly over the last fraction", () => {
    assertEquals([0, 50, 75, 100, 120].map((i) => linearDecay(i, 100, 0.5)), [1, 1, 0.5, 0, 0]);
    assertEquals(linearDecay(99, 100, 0), 1);
    assertThrows(() => linearDecay(0, 100, 2), UsageError, "expected a fraction in [0, 1], found 2");
    assertThrows(() => linearDecay(0, 0, 0.5), UsageError, "expected a positive number of updates, found 0");
  });

  it("decay by a cosine", () => {
    [[0, 1], [50, 0.5], [100, 0], [200, 0]].forEach(([i, want]) => close(cosineDecay(i!, 100), want!, 1e-12));
  });

  it("decay in steps", () => {
    assertEquals([0, 9, 10, 25].map((i) => stepDecay(i, 10, 0.5)), [1, 1, 0.5, 0.25]);
    assertThrows(() => stepDecay(0, 0, 0.5), UsageError, "expected a positive number of updates, found 0");
  });

  it("average faster while young", () => {
    assertEquals(averageDecay(0, 0.999), 0.1);
    assertEquals(averageDecay(1e6, 0.999), 0.999);
  });
});
