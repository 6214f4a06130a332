import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { parseConfig } from "../../src/coopflow/config.ts";
import { FRESH, learningRate, learnScalars } from "../../src/coopflow/schedule.ts";

const config = parseConfig({
  training: {
    iterations: 100,
    flow: { lr: 1, warmUp: 10, decayLast: 0.5 },
    ebm: { lr: 2, warmUp: 0 },
    averaging: { ebm: 0.99 },
  },
});

describe("learningRate", () => {
  it("warms up one update behind, then holds, then falls to zero", () => {
    const at = (i: number): number => learningRate(config.training.flow, i, 100);
    assertEquals([0, 1, 2, 11, 50].map(at), [0, 0, 0.1, 1, 1]);
    assertAlmostEquals(at(75), 0.5);
    assertEquals(at(100), 0);
    assertEquals(at(120), 0);
  });
});

describe("schedules of the learning rate", () => {
  const rate = (flow: object) => {
    const { training } = parseConfig({ training: { flow: { lr: 2, warmUp: 0, ...flow } } });
    return (i: number): number => learningRate(training.flow, i, 100);
  };

  it("cosine, to zero at the end", () => {
    const at = rate({ schedule: "cosine" });
    [[0, 2], [50, 1], [100, 0], [150, 0]].forEach(([i, want]) => assertAlmostEquals(at(i!), want!, 1e-12));
  });

  it("steps", () => {
    const at = rate({ schedule: "step", stepEvery: 40, stepFactor: 0.5 });
    assertEquals([0, 39, 40, 79, 80].map(at), [2, 2, 1, 1, 0.5]);
  });

  it("each behind the warm-up", () => {
    assertAlmostEquals(
      rate({ schedule: "cosine", warmUp: 100 })(51),
      2 * 0.5 * 0.5 * (1 + Math.cos(0.51 * Math.PI)),
      1e-12,
    );
  });
});

describe("learnScalars", () => {
  it("counts each network's updates, not iterations", () => {
    const scalars = learnScalars(config, { ...FRESH, iteration: 50, flowUpdates: 2, ebmUpdates: 7 });
    assertEquals(scalars["flow_lr"], 0.1);
    assertEquals(scalars["ebm_lr"], 2);
    assertAlmostEquals(scalars["flow_c1"] ?? 0, 1 / (1 - 0.9 ** 3), 1e-12);
    assertAlmostEquals(scalars["ebm_c2"] ?? 0, 1 / (1 - 0.5 ** 8), 1e-12);
  });

  it("lets the flow's rate fall over the iterations in which it learns", () => {
    const { training } = config;
    const rates = (flowUpdates: number): [number | undefined, number | undefined] => {
      const rare = { training: { ...training, flowFrom: 20, flowEvery: 4 } }; // 20 updates of the flow, 100 of the EBM
      const scalars = learnScalars(rare, { ...FRESH, iteration: 20 + 4 * flowUpdates, flowUpdates, ebmUpdates: 90 });
      return [scalars["flow_lr"], scalars["ebm_lr"]];
    };
    assertEquals(rates(10), [0.9, 2]);
    assertEquals(rates(15), [0.5, 2]);
    assertEquals(rates(20), [0, 2]);
  });

  it("feeds infinity for what is off, and decays only where averages are kept", () => {
    const scalars = learnScalars(config, FRESH);
    assertEquals(scalars["flow_clip"], 1);
    assertEquals(scalars["ebm_clip"], Infinity);
    assertEquals(scalars["flow_threshold"], Infinity);
    assertEquals("flow_decay" in scalars, false);
    assertEquals(scalars["ebm_decay"], 0.1);
    assertEquals(scalars["strict"], 1);
  });
});
