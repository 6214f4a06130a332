import { assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { STEP_SCHEDULES, stepFactor, type StepSchedule, stepSizes } from "../../src/energy/step_sizes.ts";

const of = (schedule: StepSchedule["schedule"], steps = 5): StepSchedule => ({
  steps,
  schedule,
  scheduleEnd: 0.25,
  schedulePower: 0.5,
});

describe("step sizes", () => {
  it("go from 1 to the end's share, and stay there", () => {
    for (const schedule of STEP_SCHEDULES) {
      const last = schedule === "constant" ? 1 : 0.25;
      const factors = [0, 4, 5, 100].map((t) => stepFactor(of(schedule), t));
      factors.forEach((factor, i) => assertAlmostEquals(factor, i === 0 ? 1 : last, 1e-12, schedule));
      assertEquals(stepFactor(of(schedule, 1), 0), 1);
    }
  });

  it("follow their formulas in between", () => {
    assertAlmostEquals(stepFactor(of("linear"), 1), 1 - 0.75 / 4);
    assertAlmostEquals(stepFactor(of("geometric"), 2), 0.5);
    // r^(−1/γ) = 16: δ = a/(b + t)^½ with b = 4/15, a = √b.
    assertAlmostEquals(stepFactor(of("polynomial"), 2), Math.sqrt(4 / 15) / Math.sqrt(4 / 15 + 2));
  });

  it("are one number if constant, else one for each step, from any step on", () => {
    assertEquals(stepSizes(of("constant"), 0.3), 0.3);
    assertEquals(stepSizes(of("geometric", 3), 2), Float32Array.of(2, 1, 0.5));
    assertEquals(stepSizes(of("geometric", 3), 2, 2, 2), Float32Array.of(0.5, 0.5));
  });
});
