/** Signs that learning goes wrong, in words and with what to try. */
import type { IterationEvent, WarningEvent, WarningKind } from "./events.ts";

/** Iterations before anything but values that are not finite is warned of: at first all figures move fast. */
const FIRST = 20;
/** An energy gap so many times its smallest mean so far, and no smaller than this, explodes. */
const GAP_RATIO = 20;
const GAP_LEAST = 20;
/** A change below this share of its greatest so far, or below this, has collapsed. */
const CHANGE_SHARE = 0.04;
const CHANGE_LEAST = 1e-3;
/** A share of skipped updates above this stops learning. */
const SKIPPED_SHARE = 0.5;
/** What a warning has to fall back to, as a share of its limit, before it is given again. */
const CALM = 0.5;

/** Decay of the averages that stand for "now" and for "so far". */
const NOW = 0.9;
const SO_FAR = 0.99;

/** Watches the figures of a run. What is wrong is told when it begins, not in every iteration. */
export class Watchdog {
  readonly #told = new Set<WarningKind>();
  readonly #gap = new Average(NOW);
  readonly #usualGap = new Average(SO_FAR);
  readonly #change = new Average(NOW);
  readonly #skipped = new Average(NOW);
  #leastGap = Infinity;
  #greatestChange = 0;
  #seen = 0;

  /**
   * The warnings that an iteration gives rise to.
   *
   * @param broken the first value that is not finite, if any is
   * @param has whether a value is part of the iteration, by its name in the program: phases lack some
   */
  observe(
    { iteration, metrics }: Pick<IterationEvent, "iteration" | "metrics">,
    broken: string | undefined,
    has: (name: string) => boolean = () => true,
  ): WarningEvent[] {
    const warn = (kind: WarningKind, message: string, advice: string): WarningEvent => {
      this.#told.add(kind);
      return { type: "warning", kind, iteration, message, advice };
    };
    const skipped = (has("flow_norm") && !metrics.flowUpdated) || (has("ebm_norm") && !metrics.ebmUpdated);
    this.#skipped.add(skipped ? 1 : 0);
    if (broken !== undefined) {
      if (this.#told.has("not-finite")) return [];
      const advice = "lower training.flow.lr, training.ebm.lr or langevin.stepSize, or go on from an older checkpoint";
      return [warn("not-finite", `${broken}; the update was skipped`, advice)];
    }
    this.#told.delete("not-finite");
    if (has("ebm_loss")) { for (const average of [this.#gap, this.#usualGap]) average.add(Math.abs(metrics.ebmLoss)); }
    if (has("change")) this.#change.add(metrics.change);
    if (++this.#seen <= FIRST) return [];
    this.#leastGap = Math.min(this.#leastGap, this.#usualGap.value);
    this.#greatestChange = Math.max(this.#greatestChange, this.#change.value);
    const warnings: WarningEvent[] = [];
    const limit = Math.max(GAP_LEAST, GAP_RATIO * this.#leastGap);
    if (this.#begins("energy-gap", this.#gap.value > limit, this.#gap.value < CALM * limit)) {
      warnings.push(
        warn(
          "energy-gap",
          `the energy gap between revised images and data explodes: ${shown(this.#gap.value)} now, ${
            shown(this.#leastGap)
          } before`,
          "lower training.ebm.lr, set training.ebm.clip, or take more langevin.steps",
        ),
      );
    }
    const least = Math.max(CHANGE_LEAST, CHANGE_SHARE * this.#greatestChange);
    if (this.#begins("change", has("change") && this.#change.value < least, this.#change.value > least / CALM)) {
      warnings.push(
        warn(
          "change",
          `the Langevin chain hardly changes images any more: ${shown(this.#change.value)} now, ` +
            `${shown(this.#greatestChange)} at most before`,
          "raise langevin.stepSize or training.ebm.lr, or lower training.flow.lr",
        ),
      );
    }
    const share = this.#skipped.value;
    if (this.#begins("skipped", share > SKIPPED_SHARE, share < CALM * SKIPPED_SHARE)) {
      warnings.push(
        warn(
          "skipped",
          `${shown(100 * share)} % of the last updates were skipped because their gradients' norms were too large`,
          "raise training.flow.threshold and training.ebm.threshold, or lower the learning rates",
        ),
      );
    }
    return warnings;
  }

  /** Whether a warning has been given of what has not been fine since. */
  hasTold(kind: WarningKind): boolean {
    return this.#told.has(kind);
  }

  /** Whether something that was fine is not any more. */
  #begins(kind: WarningKind, wrong: boolean, calm: boolean): boolean {
    if (calm) this.#told.delete(kind);
    return wrong && !this.#told.has(kind);
  }
}

function shown(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** A mean that forgets, without the pull of a first value of 0. */
class Average {
  readonly #decay: number;
  #sum = 0;
  #weight = 0;

  constructor(decay: number) {
    this.#decay = decay;
  }

  add(value: number): void {
    this.#sum = this.#decay * this.#sum + (1 - this.#decay) * value;
    this.#weight = this.#decay * this.#weight + (1 - this.#decay);
  }

  /** 0 of nothing. */
  get value(): number {
    return this.#weight === 0 ? 0 : this.#sum / this.#weight;
  }
}
