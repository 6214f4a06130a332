/** How a chain's step size falls from step to step: plain functions whose values the host feeds. */

/** Names of the schedules. */
export const STEP_SCHEDULES = ["constant", "linear", "geometric", "polynomial"] as const;

/** A schedule of δ over T steps. */
export interface StepSchedule {
  /** T. */
  readonly steps: number;
  readonly schedule: typeof STEP_SCHEDULES[number];
  /** r: δ of the last step as a share of that of the first. */
  readonly scheduleEnd: number;
  /** γ of the polynomial. */
  readonly schedulePower: number;
}

/**
 * δ of step t (from 0) as a share of δ of step 0: with s = t/(T − 1) that is 1 − (1 − r)·s (linear), r^s (geometric), or
 * (1 + s·(r^(−1/γ) − 1))^(−γ) (polynomial: a/(b + t)^γ, Welling and Teh 2011, with a and b such that it goes from 1 to r). Steps behind the last stay
 * at r; of a single step it is 1.
 */
export function stepFactor({ steps, schedule, scheduleEnd: r, schedulePower }: StepSchedule, t: number): number {
  const s = steps === 1 ? 0 : Math.min(1, t / (steps - 1));
  switch (schedule) {
    case "constant":
      return 1;
    case "linear":
      return 1 - (1 - r) * s;
    case "geometric":
      return r ** s;
    case "polynomial":
      return (1 + s * (r ** (-1 / schedulePower) - 1)) ** -schedulePower;
  }
}

/** What a chain is fed as δ: a number, or with a schedule one for each of `count` steps from step `first` on (default: all T). */
export function stepSizes(
  schedule: StepSchedule,
  delta: number,
  first = 0,
  count = schedule.steps,
): number | Float32Array<ArrayBuffer> {
  if (schedule.schedule === "constant") return delta;
  return Float32Array.from({ length: count }, (_, t) => delta * stepFactor(schedule, first + t));
}
