import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ShapeError, UsageError } from "../../src/errors.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { concatElu, gate } from "../../src/nn/activations.ts";
import { GatedAttention, positionCode } from "../../src/nn/attention.ts";
import { evaluation, training } from "../../src/nn/context.ts";
import { Rescale, WeightNormConv, WeightNormLinear } from "../../src/nn/conv.ts";
import { ConvAttnBlock } from "../../src/nn/conv_attn_block.ts";
import { GatedConv } from "../../src/nn/gated_conv.ts";
import { filled, nearIdentity } from "../../src/nn/initializers.ts";
import { Params } from "../../src/nn/params.ts";
import { interpret } from "../support/interpreter.ts";

const close = (a: number, b: number, tolerance = 1e-6): boolean => Math.abs(a - b) <= tolerance;
const run = (g: Graph, value: Value, feeds: Record<string, ArrayLike<number>>, params?: Params): Float64Array => {
  g.fetch("y", value);
  const states = Object.fromEntries((params?.specs ?? []).map((s) => [s.name, s.init(3)]));
  return interpret(g, { feeds, states }).fetches.y!;
};

describe("activations", () => {
  it("concat_elu is elu of [x, −x]", () => {
    const g = new Graph();
    const y = run(g, concatElu(feed(g, "x", [1, 1, 1, 2])), { x: [2, -1] });
    [2, Math.expm1(-1), Math.expm1(-2), 1].forEach((want, i) => assert(close(y[i]!, want)));
  });

  it("channel dropout zeroes whole channels and rescales the others", () => {
    const g = new Graph();
    const draws = feed(g, "u", [1, 1, 1, 4]);
    const y = run(g, concatElu(feed(g, "x", [1, 1, 2, 2]), { draws, probability: 0.2 }), {
      x: [1, 2, 3, 4],
      u: [0.1, 0.21, 0.9, 0.19],
    });
    const kept = (v: number): number => v / 0.8;
    const want = [0, kept(2), kept(Math.expm1(-1)), 0, 0, kept(4), kept(Math.expm1(-3)), 0];
    want.forEach((w, i) => assert(close(y[i]!, w), `${i}: ${y[i]} and ${w}`));
  });

  it("the gate is a·σ(b)", () => {
    const g = new Graph();
    const y = run(g, gate(feed(g, "x", [1, 1, 1, 4])), { x: [3, -2, 0, 1] });
    assert(close(y[0]!, 1.5) && close(y[1]!, -2 / (1 + Math.exp(-1))));
  });
});

describe("positionCode", () => {
  it("is [sin | cos] of position·10000^(−i/(c/2 − 1)), one constant per size", () => {
    const g = new Graph();
    const code = positionCode(g, 5, 8);
    assertEquals(code === positionCode(g, 5, 8), true);
    const y = run(g, code, {});
    for (let p = 0; p < 5; p++) {
      for (let i = 0; i < 4; i++) {
        const angle = p * 10000 ** (-i / 3);
        assert(close(y[p * 8 + i]!, Math.sin(angle)) && close(y[p * 8 + 4 + i]!, Math.cos(angle)));
      }
    }
  });
});

describe("weight norm", () => {
  it("starts as the plain layer with weight v", () => {
    const g = new Graph();
    const params = new Params(g, "l.");
    const layer = new WeightNormLinear(params, 3, 2, { bias: true });
    const y = run(g, layer.forward(feed(g, "x", [1, 3])), { x: [1, 2, 3] }, params);
    const [bias, g0, v] = params.specs.map((s) => s.init(3)) as [Float32Array, Float32Array, Float32Array];
    assertEquals(params.specs.map((s) => s.name), ["l.bias", "l.weight_g", "l.weight_v"]);
    assertEquals(params.specs.map((s) => s.kind), ["weight", "gain", "weight"]);
    for (const o of [0, 1]) {
      const row = v.subarray(3 * o, 3 * o + 3);
      assert(close(g0[o]!, Math.hypot(...row)));
      assert(close(y[o]!, bias[o]! + row[0]! + 2 * row[1]! + 3 * row[2]!));
    }
    assert([...v, ...bias].every((w) => Math.abs(w) <= 1 / Math.sqrt(3)));
  });

  it("rescale starts at 1", () => {
    const g = new Graph();
    const params = new Params(g, "r.");
    assertEquals([...run(g, new Rescale(params, 3).gains(), {}, params)], [1, 1, 1]);
    assertEquals(params.specs.map((s) => s.shape), [[3, 1, 1], [3, 1, 1]]);
  });

  it("draws differ by name and repeat by seed", () => {
    const params = new Params(new Graph(), "c.");
    new WeightNormConv(params.scope("a"), 2, 3, 3);
    new WeightNormConv(params.scope("b"), 2, 3, 3);
    const of = (name: string, seed: number) => [...params.specs.find((s) => s.name === name)!.init(seed)];
    assertEquals(of("c.a.weight_v", 1), of("c.a.weight_v", 1));
    assert(`${of("c.a.weight_v", 1)}` !== `${of("c.b.weight_v", 1)}`);
    assert(`${of("c.a.weight_v", 1)}` !== `${of("c.a.weight_v", 2)}`);
  });
});

describe("blocks", () => {
  it("keep shapes, with and without conditioning and attention", () => {
    const g = new Graph();
    const x = feed(g, "x", [2, 4, 3, 8]), aux = feed(g, "aux", [2, 4, 3, 5]);
    const params = new Params(g, "b.");
    const plain = new ConvAttnBlock(params.scope("0"), 8, { dropout: 0.2, attention: true });
    const conditioned = new ConvAttnBlock(params.scope("1"), 8, { dropout: 0, attention: false, auxChannels: 5 });
    assertEquals(conditioned.forward(evaluation(), plain.forward(evaluation(), x), aux).shape, [2, 4, 3, 8]);
    const names = params.specs.map((s) => s.name);
    assertEquals(names.includes("b.0.attn.in_proj.bias"), false);
    assertEquals(names.some((n) => n.startsWith("b.1.attn") || n.startsWith("b.1.norm_2")), false);
    assertEquals(names.includes("b.1.conv.aux_conv.conv.weight_g"), true);
  });

  it("draw in training only, and say when there is no key", () => {
    const g = new Graph();
    const x = feed(g, "x", [2, 2, 2, 8]);
    const conv = new GatedConv(new Params(g, "c."), 8, { dropout: 0.2 });
    const attention = new GatedAttention(new Params(g, "a."), 8, { dropout: 0.2 });
    conv.forward(evaluation(), x);
    attention.forward(evaluation(), feed(g, "s", [2, 4, 8]));
    assertEquals(g.nodes.some((n) => n.op === "random"), false);
    assertThrows(() => conv.forward(training(undefined, "t/"), x), UsageError, "t/c.drop: expected a pass with a key");
  });
});

describe("Params", () => {
  it("returns a state that is declared twice, and refuses another shape", () => {
    const params = new Params(new Graph(), "m.");
    const a = params.scope("x").param("w", [2], filled([2], 1));
    assertEquals(params.scope("x").param("w", [2], filled([2], 1)) === a, true);
    assertEquals(params.all.length, 1);
    assertThrows(() => params.scope("x").param("w", [3], filled([3], 1)), ShapeError, `parameter "m.x.w": expected 2`);
  });

  it("names states and layer paths alike", () => {
    const g = new Graph();
    const params = new Params(g, "flow.");
    const inner = params.scope("a").scope("b");
    assertEquals(inner.param("w", [1], filled([1], 0)).node.scope, "flow.a.b");
    assertEquals(params.enter(() => params.scope("a").enter(() => inner.enter(() => g.scope))), "flow.a.b");
  });

  it("an averaged copy begins as the model does", () => {
    const first = (prefix: string) => {
      const params = new Params(new Graph(), prefix);
      params.param("w", [2, 2], nearIdentity(2));
      return params.specs[0]!;
    };
    assertEquals(first("ema.flow.").name, "ema.flow.w");
    assertEquals(first("ema.flow.").init(1), first("flow.").init(1));
  });
});
