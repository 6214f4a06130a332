import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ConfigError, UsageError } from "../../src/errors.ts";
import { checkFlowConfig, FLOW_CELEBA64, FLOW_DEFAULTS, type FlowConfig } from "../../src/flow/config.ts";
import { bitsPerDim, FlowPlusPlus, nll } from "../../src/flow/flow_plus_plus.ts";
import { feed } from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { evaluation, training } from "../../src/nn/context.ts";
import { Params } from "../../src/nn/params.ts";
import { interpret } from "../support/interpreter.ts";
import { distance, gaussian, logAbsDet, randomStates } from "./support.ts";

const SMALL: FlowConfig = {
  ...FLOW_DEFAULTS,
  height: 4,
  width: 4,
  channelsIn: 1,
  scales: [[0, 1], [1, 1]],
  channels: 4,
  blocks: 1,
  dequantBlocks: 1,
  components: 2,
  dropout: 0,
};
const SHAPE = [2, 4, 4, 1];
const data = (): Float64Array => gaussian("data", 32).map((v) => Math.floor(256 / (1 + Math.exp(-v))) / 127.5 - 1);

describe("Flow++", () => {
  it("samples what it evaluates: sample(z(x)) gives the logits of the dequantized x back", () => {
    const g = new Graph();
    const flow = new FlowPlusPlus(new Params(g, "flow."), SMALL);
    const { z } = flow.density(evaluation(), feed(g, "x", SHAPE), feed(g, "eps", SHAPE));
    const { logits, x } = flow.sample(evaluation(), z, { undoBound: true });
    const again = flow.sample(evaluation(), z);
    g.fetch("x", x);
    g.fetch("logits", logits);
    g.fetch("bounded", again.x);
    const images = data();
    const { fetches } = interpret(g, {
      feeds: { x: images, eps: gaussian("eps", 32) },
      states: randomStates(flow.params.specs),
    });
    // Dequantization moves each pixel by at most one of 256 levels.
    assert(distance(fetches.x!, images) < 2.01 / 256, `${distance(fetches.x!, images)}`);
    const bounded = fetches.logits!.map((v) => 2 / (1 + Math.exp(-v)) - 1);
    assert(distance(fetches.bounded!, bounded) < 1e-12);
    assert(distance(fetches.x!, bounded.map((v) => Math.min(1, Math.max(-1, v / 0.9)))) < 1e-6);
  });

  it("reports the log-determinant of its scales", () => {
    const g = new Graph();
    const flow = new FlowPlusPlus(new Params(g, "flow."), SMALL);
    const { logits, logDet } = flow.sample(evaluation(), feed(g, "z", SHAPE));
    g.fetch("logits", logits);
    g.fetch("logDet", logDet);
    const states = randomStates(flow.params.specs);
    const run = (z: Float64Array) => interpret(g, { feeds: { z }, states }).fetches;
    const z = gaussian("z", 32), h = 1e-5;
    const rows = Array.from({ length: 16 }, (_, e) => {
      const moved = (by: number) => run(z.map((v, i) => (i % 16 === e ? v + by : v))).logits!;
      const plus = moved(h), minus = moved(-h);
      return [0, 1].map((n) =>
        Array.from({ length: 16 }, (_, k) => (plus[n * 16 + k]! - minus[n * 16 + k]!) / (2 * h))
      );
    });
    const reported = run(z).logDet!;
    for (const n of [0, 1]) {
      const want = logAbsDet(rows.map((r) => r[n]!));
      assert(Math.abs(want - reported[n]!) < 1e-4, `${want} and ${reported[n]}`);
    }
  });

  it("bits/dim is NLL / (D·log 2)", () => {
    const g = new Graph();
    const z = feed(g, "z", SHAPE), logDet = feed(g, "l", [2]);
    g.fetch("nll", nll(z, logDet, 256));
    g.fetch("bpd", bitsPerDim(z, logDet, 256));
    const at = gaussian("z", 32), l = [3, -1];
    const { fetches } = interpret(g, { feeds: { z: at, l } });
    const each = l.map((v, n) => {
      const prior = at.slice(16 * n, 16 * n + 16).reduce((s, e) => s - 0.5 * (e * e + Math.log(2 * Math.PI)), 0);
      return -(prior - 16 * Math.log(256) + v);
    });
    // Constants such as D·log 256 are float32.
    assert(Math.abs(fetches.nll![0]! - (each[0]! + each[1]!) / 2) < 1e-5);
    assert(distance(fetches.bpd!, each.map((v) => v / (16 * Math.log(2)))) < 1e-6);
  });

  it("uniform dequantization needs no network", () => {
    const g = new Graph();
    const flow = new FlowPlusPlus(new Params(g, "flow."), { ...SMALL, dequantization: "uniform" });
    const key = feed(g, "key", [4], "u32");
    const { z } = flow.density(evaluation(key), feed(g, "x", SHAPE));
    assertEquals(z.shape, SHAPE);
    assertEquals(flow.params.specs.some((s) => s.name.includes("dequant")), false);
  });

  it("draws dropout masks per pass: names differ, and averaged copies draw as the live model does", () => {
    const streams = (prefix: string, pass: string): string[] => {
      const g = new Graph();
      const flow = new FlowPlusPlus(new Params(g, prefix), { ...SMALL, dropout: 0.2 });
      flow.density(training(feed(g, "key", [4], "u32"), pass), feed(g, "x", SHAPE));
      return g.nodes.flatMap((n) =>
        n.op === "random" || (n.op === "attention" && n.attrs.dropout > 0) ? [n.attrs.stream] : []
      );
    };
    const live = streams("flow.", "update/");
    assertEquals(new Set(live).size, live.length);
    // Three gated convolutions in front of the dequantizer, a convolution and an attention per coupling, and ε.
    assertEquals(live.length, 3 + 2 * (4 + 3) + 1);
    assertEquals(live.every((s) => s.startsWith("update/flow.")), true);
    assertEquals(streams("flow.", "proposal/").some((s) => live.includes(s)), false);
    assertEquals(streams("ema.flow.", "update/"), live);
  });

  it("says that a key is missing", () => {
    const g = new Graph();
    const flow = new FlowPlusPlus(new Params(g, "flow."), SMALL);
    assertThrows(
      () => flow.density(evaluation(), feed(g, "x", SHAPE)),
      UsageError,
      "dequant_flows.eps: expected a pass with a key",
    );
  });
});

describe("checkFlowConfig", () => {
  it("accepts the reference's networks", () => {
    checkFlowConfig(FLOW_DEFAULTS);
    checkFlowConfig(FLOW_CELEBA64);
  });

  it("names the field that is wrong", () => {
    const refused = (change: Partial<FlowConfig>, message: string): void => {
      assertThrows(() => checkFlowConfig({ ...FLOW_DEFAULTS, ...change }), ConfigError, message);
    };
    refused({ channels: 30 }, "flow.channels: expected a multiple of 4 (attention heads), found 30");
    refused({ height: 30 }, "flow.height: expected a multiple of 4 for 2 scales, found 30");
    refused({ scales: [] }, "flow.scales: expected at least one scale");
    refused({ scales: [[1, 0]] }, "flow.scales.0.0: expected 0 channelwise couplings");
    refused({ dropout: 1 }, "flow.dropout: expected a probability below 1, found 1");
    refused({ components: 0 }, "flow.components: expected an integer of at least 1, found 0");
  });
});
