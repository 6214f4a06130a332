import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { disjoint } from "../../src/autodiff/disjoint.ts";
import { ShapeError } from "../../src/errors.ts";
import { isInjective } from "../../src/graph/ops.ts";
import {
  broadcastShapes,
  composeLayouts,
  denseStrides,
  furthest,
  isDense,
  type Layout,
  numel,
} from "../../src/graph/shape.ts";
import { layouts, shapes, wildLayouts } from "../support/random_graphs.ts";
import { layoutIndices } from "../support/reference/expression.ts";

const runs = { numRuns: 300 };

/** What the composition must address, by following both windows. */
function bruteForce(inner: Layout, outer: Layout): number[] {
  const first = layoutIndices(inner);
  return Array.from(layoutIndices(outer), (i) => first[i]!);
}

describe("composeLayouts", () => {
  const pairs = shapes({ maxSize: 6 }).chain((shape) => layouts(shape)).chain((inner) =>
    fc.tuple(fc.constant(inner), layouts(inner.shape))
  );

  it("addresses what both windows in turn address", () => {
    fc.assert(
      fc.property(pairs, ([inner, outer]) => {
        const composed = composeLayouts(inner, outer);
        if (composed) assertEquals(Array.from(layoutIndices(composed)), bruteForce(inner, outer));
      }),
      runs,
    );
  });

  it("is never wrong for windows no model would make", () => {
    const wild = wildLayouts(60).chain((inner) => fc.tuple(fc.constant(inner), wildLayouts(numel(inner.shape))));
    fc.assert(
      fc.property(wild, ([inner, outer]) => {
        const composed = composeLayouts(inner, outer);
        if (composed) assertEquals(Array.from(layoutIndices(composed)), bruteForce(inner, outer));
      }),
      runs,
    );
  });

  it("finds every composition of transposes, slices and repetitions", () => {
    fc.assert(
      fc.property(pairs, ([inner, outer]) => {
        // An outer window that keeps each of its strides within one inner dimension has a composition.
        const composed = composeLayouts(inner, outer);
        const steps = denseStrides(inner.shape);
        const within = outer.shape.every((d, k) =>
          d === 1 || outer.strides[k] === 0 || steps.some((s, i) => outer.strides[k] === s && d <= inner.shape[i]!)
        );
        if (within && outer.offset === 0 && new Set(outer.strides).size === outer.strides.length) {
          assert(composed !== undefined);
        }
      }),
      runs,
    );
  });

  it("gives up on a reshape across a transpose", () => {
    const transposed = { offset: 0, shape: [3, 2], strides: [1, 3] };
    assertEquals(composeLayouts(transposed, { offset: 0, shape: [6], strides: [1] }), undefined);
  });
});

describe("windows", () => {
  it("reach as far as furthest says", () => {
    fc.assert(fc.property(wildLayouts(80), (l) => assertEquals(furthest(l), Math.max(...layoutIndices(l)))), runs);
  });

  it("are dense exactly when they walk without holes", () => {
    fc.assert(
      fc.property(wildLayouts(80), (l) => {
        const walks = layoutIndices(l).every((i, k) => i === l.offset + k);
        assertEquals(isDense(l), walks);
      }),
      runs,
    );
  });

  it("that isInjective accepts visit nothing twice", () => {
    fc.assert(
      fc.property(wildLayouts(80), (l) => {
        const indices = layoutIndices(l);
        if (isInjective(l)) assertEquals(new Set(indices).size, indices.length);
      }),
      runs,
    );
  });

  it("that model code makes without repetition are accepted by isInjective", () => {
    const whole = shapes({ minRank: 1 }).chain((shape) =>
      layouts(shape).filter((l) => l.strides.every((s, i) => s > 0 || l.shape[i] === 1))
    );
    fc.assert(fc.property(whole, (l) => assert(isInjective(l))), runs);
  });

  it("are disjoint exactly when they share no element", () => {
    const cases = shapes({ minRank: 1, maxRank: 3 }).chain((shape) =>
      fc.tuple(fc.constant(shape), layouts(shape), layouts(shape))
    )
      .filter(([, p, q]) => isInjective(p) && isInjective(q));
    fc.assert(
      fc.property(cases, ([shape, p, q]) => {
        const seen = new Set(layoutIndices(p));
        assertEquals(disjoint(shape, p, q), !layoutIndices(q).some((i) => seen.has(i)));
      }),
      runs,
    );
  });
});

describe("broadcastShapes", () => {
  it("aligns at the last dimension", () => {
    assertEquals(broadcastShapes([4, 1, 3], [2, 1], "test"), [4, 2, 3]);
    assertEquals(broadcastShapes([], [2, 1], "test"), [2, 1]);
  });

  it("is symmetric, and fits both operands", () => {
    fc.assert(
      fc.property(shapes(), fc.array(fc.boolean()), (shape, ones) => {
        const other = shape.map((d, i) => (ones[i] ? 1 : d)).slice(ones.length % (shape.length + 1));
        assertEquals(broadcastShapes(shape, other, "test"), shape);
        assertEquals(broadcastShapes(other, shape, "test"), shape);
      }),
      runs,
    );
  });

  it("names both shapes when they do not fit", () => {
    assertThrows(
      () => broadcastShapes([2, 3], [2], "add"),
      ShapeError,
      "add: expected shapes that broadcast, found 2x3 and 2",
    );
  });
});
