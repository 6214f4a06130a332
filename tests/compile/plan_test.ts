import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { type Lifetime, peakLive, planMemory } from "../../src/compile/plan.ts";

const lifetimes: fc.Arbitrary<Lifetime[]> = fc.array(
  fc.tuple(fc.integer({ min: 1, max: 200 }), fc.nat(40), fc.nat(12)).map(([size, first, length]) => ({
    size,
    first,
    last: first + length,
  })),
  { maxLength: 60 },
);

const live = (a: Lifetime, b: Lifetime): boolean => a.first <= b.last && b.first <= a.last;

describe("planMemory", () => {
  it("never lets two temporaries that live at the same time overlap", () => {
    fc.assert(
      fc.property(lifetimes, (all) => {
        const { offsets } = planMemory(all);
        all.forEach((a, i) => {
          all.slice(i + 1).forEach((b, k) => {
            const j = i + 1 + k;
            const apart = offsets[i]! + a.size <= offsets[j]! || offsets[j]! + b.size <= offsets[i]!;
            assert(apart || !live(a, b), `temporaries ${i} and ${j} overlap`);
          });
        });
      }),
      { numRuns: 300 },
    );
  });

  it("stays inside the arena, which is no smaller than what lives at once and no larger than everything", () => {
    fc.assert(
      fc.property(lifetimes, (all) => {
        const { offsets, total } = planMemory(all);
        all.forEach(({ size }, i) => assert(offsets[i]! >= 0 && offsets[i]! + size <= total));
        assert(total >= peakLive(all));
        assert(total <= all.reduce((sum, { size }) => sum + size, 0));
      }),
      { numRuns: 300 },
    );
  });

  it("wastes nothing on a chain of equal temporaries", () => {
    const chain = Array.from({ length: 50 }, (_, i) => ({ size: 64, first: i, last: i + 1 }));
    assertEquals(planMemory(chain).total, 128);
    assertEquals(peakLive(chain), 128);
  });

  it("depends on nothing but its argument", () => {
    fc.assert(fc.property(lifetimes, (all) => assertEquals(planMemory(all), planMemory(all))), { numRuns: 50 });
  });
});

describe("peakLive", () => {
  it("counts what is live at every instruction", () => {
    fc.assert(
      fc.property(lifetimes, (all) => {
        let expected = 0;
        for (let at = 0; at <= 60; at++) {
          expected = Math.max(
            expected,
            all.reduce((sum, l) => (l.first <= at && at <= l.last ? sum + l.size : sum), 0),
          );
        }
        assertEquals(peakLive(all), expected);
      }),
      { numRuns: 200 },
    );
  });
});
