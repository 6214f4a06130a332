import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { IterationMetrics, WarningEvent } from "../../src/coopflow/events.ts";
import { Watchdog } from "../../src/coopflow/warnings.ts";

const FINE: IterationMetrics = {
  flowNll: 100,
  bitsPerDim: 2,
  flowNorm: 100,
  fProposal: 1,
  fRevised: 2,
  fData: 1.5,
  ebmLoss: 0.5,
  ebmNorm: 5,
  change: 0.2,
  flowUpdated: true,
  ebmUpdated: true,
  flowLr: 1e-3,
  ebmLr: 1e-3,
};

/** The warnings that a run of such figures gives rise to. */
function watch(
  iterations: number,
  figures: (iteration: number) => Partial<IterationMetrics>,
  broken: (iteration: number) => string | undefined = () => undefined,
): WarningEvent[] {
  const watchdog = new Watchdog();
  return Array.from({ length: iterations }, (_, i) => i + 1)
    .flatMap((iteration) =>
      watchdog.observe({ iteration, metrics: { ...FINE, ...figures(iteration) } }, broken(iteration))
    );
}

const kinds = (warnings: readonly WarningEvent[]): string[] => warnings.map(({ kind }) => kind);

describe("Watchdog", () => {
  it("keeps still while figures move as they do in a good run", () => {
    // A digits run: the gap swings up to ±4, the change rises from 0.03 to 0.5 and falls to 0.2.
    const warnings = watch(400, (i) => ({
      ebmLoss: 4 * Math.sin(i / 3) * Math.exp(-i / 100),
      change: 0.03 + 0.45 * Math.min(1, i / 20) * Math.exp(-i / 150) + 0.02 * Math.sin(i),
      flowUpdated: i % 4 !== 0,
    }));
    assertEquals(warnings, []);
  });

  it("warns of an energy gap that explodes, once, and again after it has calmed down", () => {
    const once = watch(200, (i) => ({ ebmLoss: i < 100 ? Math.sin(i) : 2 ** Math.min(40, i - 100) }));
    assertEquals(kinds(once), ["energy-gap"]);
    const [warning] = once;
    assert(warning !== undefined && warning.iteration > 104 && warning.iteration < 115, `${warning?.iteration}`);
    assertStringIncludes(warning.advice, "training.ebm.lr");
    const twice = watch(900, (i) => ({ ebmLoss: i === 100 || i === 800 ? 1e5 : 1 }));
    assertEquals(kinds(twice), ["energy-gap", "energy-gap"]);
  });

  it("warns of a chain that does nothing any more", () => {
    const [warning, ...others] = watch(300, (i) => ({ change: i < 100 ? 0.3 : 0.3 * 0.9 ** (i - 100) }));
    assertEquals(others, []);
    assertEquals(warning?.kind, "change");
    assertStringIncludes(warning?.message ?? "", "0.3 at most before");
    assertEquals(kinds(watch(60, () => ({ change: 0 }))), ["change"]);
  });

  it("tells of a value that is not finite when it begins", () => {
    const warnings = watch(100, () => ({}), (i) => i >= 50 && i !== 70 ? "change is NaN" : undefined);
    assertEquals(warnings.map(({ kind, iteration }) => [kind, iteration]), [["not-finite", 50], ["not-finite", 71]]);
    assertEquals(warnings[0]?.message, "change is NaN; the update was skipped");
  });

  it("warns when most updates are skipped", () => {
    assertEquals(kinds(watch(100, (i) => ({ ebmUpdated: i < 40 }))), ["skipped"]);
  });

  it("leaves the first iterations alone, whatever their figures", () => {
    assertEquals(watch(20, (i) => ({ ebmLoss: 10 ** i, change: 0 })), []);
  });
});
