import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { density } from "../../../src/coopflow/programs/density.ts";
import { initialise } from "../../../src/coopflow/programs/initialise.ts";
import { learn } from "../../../src/coopflow/programs/learn.ts";
import { pretrain } from "../../../src/coopflow/programs/pretrain.ts";
import type { ModelConfig, ModelProgram } from "../../../src/coopflow/programs/program.ts";
import { sample } from "../../../src/coopflow/programs/sample.ts";
import { ENERGY_OPTIMIZER, FLOW_OPTIMIZER } from "../../../src/coopflow/programs/updates.ts";
import { ENERGY_DEFAULTS } from "../../../src/energy/config.ts";
import { ConfigError } from "../../../src/errors.ts";
import { FLOW_DEFAULTS } from "../../../src/flow/config.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import { verifyGraph } from "../../../src/graph/verify.ts";
import { gaussian, randomStates, type Tensors } from "../../flow/support.ts";
import { interpret } from "../../support/interpreter.ts";

const SIZE = { height: 4, width: 4, channelsIn: 1 };
const MODEL: ModelConfig = {
  flow: {
    ...FLOW_DEFAULTS,
    ...SIZE,
    scales: [[0, 1]],
    channels: 4,
    blocks: 1,
    dequantBlocks: 1,
    components: 2,
    dropout: 0.2,
  },
  energy: { ...ENERGY_DEFAULTS, ...SIZE, channels: 2 },
};
const BATCH = 2;
const CHAIN = { steps: 2, noise: true, moveClamp: 0.1, range: [-1, 1] } as const;
const feedsOf = (g: Graph): string[] => g.nodes.flatMap((n) => (n.op === "feed" ? [n.attrs.name] : [])).sort();
const results = (g: Graph, kind: "fetch" | "assign"): string[] =>
  g.results.flatMap((r) => (r.kind === kind ? [r.name] : []));

const images = (stream: string): Float64Array => gaussian(stream, BATCH * 16).map((v) => Math.tanh(v));
const scalars = (change: Record<string, number> = {}): Record<string, number[]> => {
  const all: Record<string, number> = { step_size: 0.1, strict: 1, ...change };
  for (const model of ["flow", "ebm"]) {
    const own = { on: 1, lr: 0.01, c1: 10, c2: 1000, clip: 1, threshold: Infinity, decay: 0.9 };
    for (const [k, v] of Object.entries(own)) all[`${model}_${k}`] ??= v;
  }
  return Object.fromEntries(Object.entries(all).map(([k, v]) => [k, [v]]));
};
const statesOf = ({ specs }: ModelProgram): Tensors => {
  const models = specs.filter((s) => s.kind !== "moment" && s.kind !== "average");
  const rest = specs.filter((s) => s.kind === "moment" || s.kind === "average");
  return { ...randomStates(models), ...Object.fromEntries(rest.map((s) => [s.name, Float64Array.from(s.init(7))])) };
};

describe("learn", () => {
  const program = learn({
    ...MODEL,
    batch: BATCH,
    chain: CHAIN,
    images: true,
    flowOptimizer: { ...FLOW_OPTIMIZER, average: true },
    energyOptimizer: { ...ENERGY_OPTIMIZER, average: true },
  });
  const states = statesOf(program);
  const step = (change: Record<string, number> = {}, data = images("data")) =>
    interpret(program.graph, { feeds: { data, key: [1, 2, 0, 0], ...scalars(change) }, states });
  const moved = (assigns: Readonly<Record<string, Float64Array>>): string[] =>
    Object.entries(assigns).filter(([name, v]) => v.some((x, i) => !Object.is(x, states[name]![i]))).map(([name]) =>
      name
    );
  const groups = (names: string[]): string[] => [...new Set(names.map((n) => n.match(/(flow|ebm)\./)![1]!))].sort();

  it("has the documented feeds, fetches and states", () => {
    verifyGraph(program.graph);
    const own = ["c1", "c2", "clip", "decay", "lr", "on", "threshold"];
    assertEquals(
      feedsOf(program.graph),
      ["data", "key", "step_size", "strict", ...own.map((k) => `flow_${k}`), ...own.map((k) => `ebm_${k}`)].sort(),
    );
    assertEquals(results(program.graph, "fetch"), [
      "flow_nll",
      "flow_norm",
      "flow_norm_gains",
      "flow_norm_rest",
      "f_proposal",
      "f_revised",
      "f_data",
      "ebm_loss",
      "ebm_norm",
      "change",
      "finite",
      "flow_ok",
      "ebm_ok",
      "proposals",
      "images",
    ]);
    const assigned = new Set(results(program.graph, "assign"));
    for (const s of program.specs) assertEquals(assigned.has(s.name), s.kind !== "buffer", s.name);
    assertEquals(assigned.size, program.specs.filter((s) => s.kind !== "buffer").length);
  });

  it("updates every parameter of both networks, and reports what it did", () => {
    const { fetches, assigns } = step();
    for (const flag of ["finite", "flow_ok", "ebm_ok"]) assertEquals(fetches[flag]![0], 1, flag);
    // Two gradients vanish: of a weight norm of one element, and of a constant added to all energies. The latter's must be an exact 0, as Adam would
    // blow up any rounding noise to whole steps.
    const changed = new Set(moved(assigns));
    const still = Object.keys(assigns).filter((n) => !changed.has(n) && !n.endsWith("rescale.weight_v"));
    assertEquals(still, ["ebm.f.2.bias", "adam.m.ebm.f.2.bias", "adam.v.ebm.f.2.bias"]);
    const [x, proposal] = [fetches.images!, fetches.proposals!];
    const rms = Math.sqrt(x.reduce((s, v, i) => s + (v - proposal[i]!) ** 2, 0) / x.length);
    assert(Math.abs(fetches.change![0]! - rms) < 1e-6);
    assert(rms > 0.01 && x.every((v) => Math.abs(v) <= 1));
    const [gains, rest] = [fetches.flow_norm_gains![0]!, fetches.flow_norm_rest![0]!];
    assert(Math.abs(fetches.flow_norm![0]! - Math.hypot(gains, rest)) < 1e-9 * fetches.flow_norm![0]!);
  });

  it("leaves a model alone that is off", () => {
    assertEquals(groups(moved(step({ flow_on: 0 }).assigns)), ["ebm"]);
    assertEquals(groups(moved(step({ ebm_on: 0 }).assigns)), ["flow"]);
  });

  it("skips both updates at the EBM's threshold, the flow's at its own", () => {
    assertEquals(moved(step({ ebm_threshold: 0 }).assigns), []);
    assertEquals(groups(moved(step({ flow_threshold: 0 }).assigns)), ["ebm"]);
  });

  it("keeps every bit of the state when anything is not finite, and says so", () => {
    const bad = images("data");
    bad[3] = NaN;
    const { fetches, assigns } = step({}, bad);
    assertEquals(moved(assigns), []);
    assertEquals([fetches.finite![0], fetches.flow_ok![0], fetches.ebm_ok![0]], [0, 0, 0]);
    assert(Number.isNaN(fetches.f_data![0]!) && Number.isFinite(fetches.flow_nll![0]!));
  });

  it("takes draws from the host if asked to", () => {
    const given = learn({
      ...MODEL,
      flow: { ...MODEL.flow, dropout: 0 },
      batch: BATCH,
      chain: CHAIN,
      given: ["z", "eps", "noise"],
    });
    const feeds = feedsOf(given.graph);
    assertEquals(feeds.includes("key"), false);
    assertEquals(["z", "eps", "noise"].every((f) => feeds.includes(f)), true);
    assertEquals(given.graph.nodes.some((n) => n.op === "random"), false);
  });

  it("refuses networks that disagree about the images", () => {
    assertThrows(
      () => learn({ ...MODEL, energy: { ...MODEL.energy, height: 8 }, batch: 1 }),
      ConfigError,
      "energy.height: expected the flow's 4, found 8",
    );
  });
});

describe("sample", () => {
  it("gives image n from (seed, first sample + n) alone", () => {
    const program = sample({ ...MODEL, batch: BATCH, chain: CHAIN });
    verifyGraph(program.graph);
    const states = statesOf(program);
    const of = (first: number) =>
      interpret(program.graph, { feeds: { key: [5, 0, first, 0], step_size: [0.1] }, states }).fetches;
    const [a, b] = [of(0), of(1)];
    assertEquals([...a.images!.slice(16)], [...b.images!.slice(0, 16)]);
    assertEquals([...a.proposals!.slice(16)], [...b.proposals!.slice(0, 16)]);
    assert(a.images!.some((v, i) => v !== b.images![i]!));
  });

  it("reads averaged parameters if asked to", () => {
    const { specs } = sample({ ...MODEL, batch: 1, averaged: { flow: true } });
    assertEquals(specs.every((s) => s.name.startsWith("ema.flow.") || s.name.startsWith("ebm.")), true);
  });
});

describe("initialise", () => {
  it("makes an uninitialised flow usable, each layer from what those before it made", () => {
    const flow = { ...MODEL.flow, dropout: 0 };
    const start = initialise({ flow, batch: BATCH, given: ["eps"] });
    verifyGraph(start.graph);
    const fresh = Object.fromEntries(start.specs.map((s) => [s.name, Float64Array.from(s.init(1))]));
    const feeds = { data: images("data"), eps: gaussian("eps", BATCH * 16) };
    const { assigns } = interpret(start.graph, { feeds, states: fresh });
    const norms = start.specs.filter((s) => s.name.endsWith("is_initialized"));
    assertEquals(norms.length, 5);
    assertEquals(Object.keys(assigns).length, 15);
    const program = density({ ...MODEL, flow, batch: BATCH, given: ["eps"] });
    verifyGraph(program.graph);
    const energies = randomStates(program.specs.filter((s) => s.name.startsWith("ebm.")));
    const { fetches } = interpret(program.graph, { feeds, states: { ...fresh, ...energies, ...assigns } });
    assert([...fetches.bits_per_dim!, ...fetches.energy!, ...fetches.z!].every(Number.isFinite));
    assertEquals([fetches.bits_per_dim!.length, fetches.energy!.length, fetches.z!.length], [2, 2, 32]);
  });
});

describe("pretrain", () => {
  it("moves the flow alone, and only below its threshold", () => {
    const program = pretrain({ flow: MODEL.flow, batch: BATCH });
    verifyGraph(program.graph);
    const states = statesOf(program);
    const run = (change: Record<string, number>) =>
      interpret(program.graph, { feeds: { data: images("data"), key: [1, 0, 0, 0], ...scalars(change) }, states });
    const name = "flow.flows.checkers.1.weight";
    assertEquals(run({}).fetches.flow_ok![0], 1);
    assert(run({}).assigns[name]!.some((v, i) => v !== states[name]![i]!));
    assertEquals([...run({ flow_threshold: 0 }).assigns[name]!], [...states[name]!]);
    assertEquals(program.specs.some((s) => s.name.includes("ebm.")), false);
  });
});
