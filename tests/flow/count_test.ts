import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ENERGY_DEFAULTS } from "../../src/energy/config.ts";
import { createEnergy } from "../../src/energy/network.ts";
import { FLOW_CELEBA64, FLOW_DEFAULTS } from "../../src/flow/config.ts";
import { FlowPlusPlus } from "../../src/flow/flow_plus_plus.ts";
import { Graph } from "../../src/graph/graph.ts";
import { numel } from "../../src/graph/shape.ts";
import { type Param, Params } from "../../src/nn/params.ts";

const count = (params: readonly Param[]): number => params.reduce((n, p) => n + numel(p.spec.shape), 0);

describe("paper-size networks", () => {
  const flow = new FlowPlusPlus(new Params(new Graph(), "flow."), FLOW_DEFAULTS);

  it("have the reference's number of parameters", () => {
    const energy = createEnergy(new Params(new Graph(), "ebm."), ENERGY_DEFAULTS);
    assertEquals(count(flow.params.trainable), 28_784_792);
    assertEquals(count(energy.params.trainable), 17_129_444);
  });

  it("have the reference's 445 gains and 1,212 other parameters, in module order", () => {
    const { trainable } = flow.params;
    assertEquals(trainable.filter((p) => p.spec.kind === "gain").length, 445);
    assertEquals(trainable.filter((p) => p.spec.kind === "weight").length, 1212);
    const names = flow.params.specs.map((s) => s.name);
    assertEquals(names.slice(0, 8), [
      "flow.bounds",
      "flow.dequant_flows.aux_conv.0.weight",
      "flow.dequant_flows.aux_conv.0.bias",
      "flow.dequant_flows.aux_conv.1.conv.conv.bias",
      "flow.dequant_flows.aux_conv.1.conv.conv.weight_g",
      "flow.dequant_flows.aux_conv.1.conv.conv.weight_v",
      "flow.dequant_flows.aux_conv.1.gate.conv.bias",
      "flow.dequant_flows.aux_conv.1.gate.conv.weight_g",
    ]);
    const position = (name: string): number => names.indexOf(`flow.${name}`);
    const ordered = [
      "dequant_flows.flows.0.mean",
      "dequant_flows.flows.0.inv_std",
      "dequant_flows.flows.0.is_initialized",
      "dequant_flows.flows.2.nn.mid_convs.0.conv.aux_conv.conv.bias",
      "dequant_flows.flows.2.nn.mid_convs.0.norm_1.weight",
      "dequant_flows.flows.2.nn.mid_convs.0.attn.in_proj.weight_g",
      "dequant_flows.flows.2.nn.mid_convs.0.attn.gate.bias",
      "dequant_flows.flows.2.nn.mid_convs.0.norm_2.bias",
      "dequant_flows.flows.2.nn.out_conv.conv.weight_v",
      "dequant_flows.flows.2.nn.rescale.weight_g",
      "dequant_flows.flows.13.weight",
      "flows.checkers.0.mean",
      "flows.checkers.14.nn.rescale.weight_v",
      "flows.next.channels.0.mean",
      "flows.next.checkers.10.nn.in_conv.conv.bias",
    ].map(position);
    assertEquals(ordered.every((p, i) => p >= 0 && (i === 0 || p > ordered[i - 1]!)), true, `${ordered}`);
  });

  it("count steps in threes without 1×1 convolutions", () => {
    const celeba = new FlowPlusPlus(new Params(new Graph(), "flow."), FLOW_CELEBA64);
    const names = new Set(celeba.params.specs.map((s) => s.name));
    assertEquals(names.has("flow.flows.next.checkers.4.nn.in_conv.conv.bias"), true);
    assertEquals(names.has("flow.flows.next.next.next.channels.3.mean"), true);
    assertEquals(
      [...names].some((n) => n.startsWith("flow.flows.checkers") || n.startsWith("flow.flows.channels")),
      false,
    );
    assertEquals([...names].some((n) => n.startsWith("flow.dequant_flows") && n.includes("attn")), false);
  });
});
