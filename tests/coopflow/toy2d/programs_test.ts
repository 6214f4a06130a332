import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { toy2dConfig } from "../../../src/coopflow/toy2d/config.ts";
import { initialisePoints, learnPoints, samplePoints, scorePoints } from "../../../src/coopflow/toy2d/programs.ts";
import { firstNotFinite } from "../../../src/coopflow/not_finite.ts";
import { FRESH, learnScalars } from "../../../src/coopflow/schedule.ts";
import type { ModelProgram } from "../../../src/coopflow/programs/program.ts";
import { verifyGraph } from "../../../src/graph/verify.ts";
import { gaussian, randomStates, type Tensors } from "../../flow/support.ts";
import { interpret } from "../../support/interpreter.ts";

const full = toy2dConfig({ noise: true, iterations: 10 });
const config = {
  ...full,
  flow: { ...full.flow, steps: 2, channels: 4, layers: 1, components: 2 },
  energy: { ...full.energy, channels: 4, layers: 2 },
  langevin: { ...full.langevin, steps: 2 },
  training: { ...full.training, batch: 3 },
  wide: 2,
};

function statesOf({ specs }: ModelProgram): Tensors {
  const own = specs.filter(({ kind }) => kind !== "moment");
  const moments = specs.filter(({ kind }) => kind === "moment");
  return { ...randomStates(own), ...Object.fromEntries(moments.map((s) => [s.name, Float64Array.from(s.init(7))])) };
}

function run(program: ModelProgram, feeds: Record<string, ArrayLike<number>>): ReturnType<typeof interpret> {
  verifyGraph(program.graph);
  return interpret(program.graph, { feeds, states: statesOf(program) });
}

const scalars = (change: Record<string, number> = {}): Record<string, number[]> => ({
  ...Object.fromEntries(Object.entries({ ...learnScalars(config, FRESH), ...change }).map(([k, v]) => [k, [v]])),
  step_size: [0.3, 0.1],
});

describe("programs of points", () => {
  const program = learnPoints(config);
  const feeds = { data: gaussian("data", 10), key: [3, 0, 0, 0] };

  it("one iteration moves both networks and their averages", async () => {
    const { fetches, assigns } = run(program, { ...feeds, ...scalars({ flow_lr: 0.01, ebm_lr: 0.01 }) });
    assertEquals(
      await firstNotFinite(Object.fromEntries(Object.entries(fetches).map(([k, v]) => [k, Float32Array.from(v)]))),
      undefined,
    );
    assertEquals([fetches.flow_ok![0], fetches.ebm_ok![0]], [1, 1]);
    const states = statesOf(program);
    const trained = program.specs.filter((spec) => spec.trainable);
    for (const { name } of trained) {
      // A constant added to all energies, and the length of a single number's direction, have no gradient.
      if (name === "ebm.f.2.bias" || name.endsWith("rescale.weight_v")) continue;
      assert(assigns[name]!.some((v, i) => v !== states[name]![i]), name);
      assert(assigns[`ema.${name}`]!.some((v, i) => v !== states[`ema.${name}`]![i]), `ema.${name}`);
    }
  });

  it("nothing moves when a value is not finite", () => {
    const data = feeds.data.map((value, i) => i === 4 ? NaN : value);
    const { fetches, assigns } = run(program, { ...feeds, data, ...scalars({ flow_lr: 0.01, ebm_lr: 0.01 }) });
    assertEquals(fetches.finite![0], 0);
    const states = statesOf(program);
    for (const [name, values] of Object.entries(assigns)) assertEquals([...values], [...states[name]!], name);
  });

  it("the wide chains change nothing for the flow", () => {
    const without = learnPoints({ ...config, wide: 7 });
    const wide = run(without, { ...scalars(), key: feeds.key, data: gaussian("data", 20) }).fetches;
    const narrow = run(program, { ...feeds, ...scalars() }).fetches;
    assertEquals([...wide.flow_nll!], [...narrow.flow_nll!]);
    assertEquals([...wide.change!], [...narrow.change!]);
    assert(wide.f_revised![0] !== narrow.f_revised![0]);
  });

  it("an untrained flow initialised from data gives them mean 0 and variance about 1", () => {
    const first = initialisePoints(config, 64);
    const data = gaussian("shifted", 128).map((v, i) => i % 2 === 0 ? 3 + 0.5 * v : 2 * v - 1);
    const { assigns } = run(first, { data });
    assertEquals([...assigns["flow.steps.0.is_initialized"]!], [1]);
    const [centre] = assigns["flow.steps.0.mean"]!;
    assert(Math.abs(centre! - 3) < 0.3, `${centre}`);
  });

  it("scores and samples with averaged parameters", () => {
    const scored = run(scorePoints(config, 5), { data: feeds.data });
    assertEquals([scored.fetches.log_q!.length, scored.fetches.f!.length], [5, 5]);
    const sampling = samplePoints(config, 4);
    const draws = { key: [1, 0, 0, 0], step_size: [0.3, 0.1] };
    assert(sampling.specs.every(({ name }) => name.startsWith("ema.")));
    const { proposals, images } = run(sampling, draws).fetches;
    assertEquals(images!.length, 8);
    const broken = sampling.specs.find(({ name }) => name.endsWith("steps.0.mean"))!.name;
    const states = { ...statesOf(sampling), [broken]: Float64Array.of(Infinity, 0) };
    const { fetches } = interpret(sampling.graph, { feeds: draws, states });
    assert(fetches.proposals!.every((v) => Number.isFinite(v)));
    assert(images!.every((v, i) => Math.abs(v) <= 4 && v !== proposals![i]));
  });
});
