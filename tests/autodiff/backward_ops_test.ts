// The interpreter's own backward formulas against finite differences of its forward ones: the oracle has to be right first.

import { assertAlmostEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { gaussian } from "../support/gradient_check.ts";
import { attention, attentionGrad } from "../support/reference/attention.ts";
import { invert } from "../support/reference/linear.ts";
import { mixture, mixtureGrad, mixtureInverse } from "../support/reference/mixture.ts";
import { layerNorm, layerNormGrad } from "../support/reference/norm.ts";

const STEP = 1e-5;

/** Compares each input's gradient with finite differences of Σ ⟨cotangent, output⟩, element by element. */
function check(
  forward: (inputs: readonly Float64Array[]) => readonly Float64Array[],
  inputs: readonly Float64Array[],
  cotangents: readonly Float64Array[],
  grads: readonly Float64Array[],
): void {
  const total = (at: readonly Float64Array[]): number =>
    forward(at).reduce((sum, y, k) => sum + (cotangents[k]?.reduce((s, c, i) => s + c * y[i]!, 0) ?? 0), 0);
  grads.forEach((grad, k) => {
    grad.forEach((found, i) => {
      const moved = (t: number): readonly Float64Array[] =>
        inputs.map((x, j) => (j === k ? x.map((v, e) => (e === i ? v + t : v)) : x));
      const expected = (total(moved(STEP)) - total(moved(-STEP))) / (2 * STEP);
      assertAlmostEquals(found, expected, 1e-6 * (1 + Math.abs(expected)), `input ${k}, element ${i}`);
    });
  });
}

describe("reference backward formulas", () => {
  it("of layer norm", () => {
    const [x, gain, bias, dy] = [12, 4, 4, 12].map((n, i) => gaussian(1, `${i}`, n)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    check(([x, g, b]) => [layerNorm(x!, g!, b!, 1e-5)], [x, gain, bias], [dy], layerNormGrad(x, gain, dy, 1e-5));
  });

  it("of attention, with some weights dropped", () => {
    const mask = gaussian(2, "mask", 2 * 9).map((v) => (v > -0.5 ? 1.4 : 0));
    const a = { images: 2, length: 3, width: 4, heads: 2, mask: () => mask };
    const kvq = gaussian(2, "kvq", 2 * 3 * 12);
    const dout = gaussian(2, "dout", 2 * 3 * 4);
    check(([x]) => attention(x!, a), [kvq], [dout], [attentionGrad(kvq, dout, a)]);
  });

  const m = { images: 2, positions: 2, channels: 2, components: 3 };
  const x = gaussian(3, "x", 8);
  const p = gaussian(3, "p", 8 * 11);
  const rescale = gaussian(3, "rescale", 2);

  it("of the mixture, a clamped log-scale included", () => {
    const clamped = p.map((v, i) => (i === 9 * 2 ? -8 : v));
    const dy = gaussian(3, "dy", 8);
    const dlogDet = gaussian(3, "dlogdet", 2);
    check(
      ([x, p, r]) => mixture(x!, p!, r!, m),
      [x, clamped, rescale],
      [dy, dlogDet],
      mixtureGrad([x, clamped, rescale, dy, dlogDet], m),
    );
  });

  it("and the mixture's inverse undoes it", () => {
    const [y, logDet] = mixture(x, p, rescale, m);
    const [back, negative] = mixtureInverse(y!, p, rescale, m);
    back!.forEach((v, i) => assertAlmostEquals(v, x[i]!, 1e-9));
    negative!.forEach((v, i) => assertAlmostEquals(v, -logDet![i]!, 1e-8));
  });

  it("and a matrix times its inverse is the identity", () => {
    const w = gaussian(4, "w", 25);
    const { inverse, logAbsDet } = invert(w, 5);
    for (let r = 0; r < 5; r++) {
      for (let c = 0; c < 5; c++) {
        let sum = 0;
        for (let k = 0; k < 5; k++) sum += w[r * 5 + k]! * inverse[k * 5 + c]!;
        assertAlmostEquals(sum, r === c ? 1 : 0, 1e-10);
      }
    }
    assertAlmostEquals(invert(w.map((v) => 2 * v), 5).logAbsDet, logAbsDet + 5 * Math.log(2), 1e-12);
  });
});
