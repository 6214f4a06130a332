import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { langevin, type LangevinOptions } from "../../src/energy/langevin.ts";
import { UsageError } from "../../src/errors.ts";
import { feed, map, reshape, sum } from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { checkGradient, gaussian } from "../support/gradient_check.ts";
import { interpret } from "../support/interpreter.ts";

const SHAPE = [2, 1, 1, 2];
const START = [1, -2, 0.5, 0.25];

/** f(x) = −½‖x‖²: ∇f = −x, so that a noise-free step multiplies by 1 − δ²/2. */
const normalEnergy = (x: Value): Value => reshape(sum(map([x], (a) => E.mul(-0.5, E.square(a))), [1, 2, 3]), [2]);

/** f(x) = −¼Σx⁴. */
const quarticEnergy = (x: Value): Value =>
  reshape(sum(map([x], (a) => E.mul(-0.25, E.square(E.square(a)))), [1, 2, 3]), [2]);

function chain(options: (g: Graph) => LangevinOptions, feeds: Record<string, ArrayLike<number>> = {}) {
  const g = new Graph();
  const { x, energies, trajectory, steps } = langevin(g, normalEnergy, feed(g, "x", SHAPE), options(g));
  g.fetch("x", x);
  if (energies) g.fetch("energies", energies);
  if (trajectory) g.fetch("trajectory", trajectory);
  for (const [name, value] of Object.entries(steps ?? {})) g.fetch(name, value);
  return interpret(g, { feeds: { x: START, ...feeds } }).fetches;
}

const near = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-6): void => {
  assertEquals(a.length, b.length);
  Array.from(a).forEach((v, i) => assert(Math.abs(v - b[i]!) <= tolerance, `${i}: ${v} and ${b[i]}`));
};

describe("langevin", () => {
  it("follows the gradient: closed form on a Gaussian", () => {
    const out = chain((g) => ({ steps: 5, stepSize: feed(g, "delta", []), energies: true, trajectory: true }), {
      delta: [0.4],
    });
    near(out.x!, START.map((v) => v * (1 - 0.08) ** 5));
    near(out.trajectory!.slice(0, 4), START);
    near(out.trajectory!.slice(16), START.map((v) => v * (1 - 0.08) ** 4));
    near(out.energies!.slice(0, 2), [-2.5, -0.15625]);
  });

  it("clamps the move, then the range", () => {
    near(chain(() => ({ steps: 1, stepSize: 1, moveClamp: 0.1 })).x!, [0.9, -1.9, 0.4, 0.15]);
    near(chain(() => ({ steps: 1, stepSize: 1, moveClamp: 0.1, range: [-1, 0.3] })).x!, [0.3, -1, 0.3, 0.15]);
  });

  it("tells what each step does, when watched", () => {
    const out = chain((g) => ({
      steps: 2,
      stepSize: 1,
      moveClamp: 0.3,
      range: [-1.65, 0.8],
      watch: feed(g, "origin", SHAPE),
    }), { origin: [0, 0, 0.5, 0.5] });
    // [1, −2], [0.5, 0.25] → moves −0.5 and 1, clamped; −0.25 and −0.125, not → [0.7, −1.65 after the range], [0.25, 0.125].
    const images = [[[1, -2], [0.5, 0.25]], [[0.7, -1.65], [0.25, 0.125]]];
    near(out.slopeNorm!, images.flat().map(([a, b]) => Math.hypot(a!, b!)));
    near(out.clampedMoves!, [1, 0, 1, 0]);
    near(out.clampedPixels!, [0.5, 0, 0, 0]);
    near(
      out.distance!,
      images.flatMap(([p, q]) => [Math.hypot(...p!) / Math.SQRT2, Math.hypot(q![0]! - 0.5, q![1]! - 0.5) / Math.SQRT2]),
    );
    near(out.x!, [0.4, -1.35, 0.125, 0.0625]);
  });

  it("adds δ·ε after clamping the move", () => {
    const noise = Array.from({ length: 8 }, (_, i) => Math.cos(i));
    const out = chain((g) => ({ steps: 2, stepSize: 0.5, moveClamp: 0.1, noise: feed(g, "eps", [2, ...SHAPE]) }), {
      eps: noise,
    });
    const step = (x: number[], e: number[]): number[] =>
      x.map((v, i) => v + Math.min(0.1, Math.max(-0.1, -0.125 * v)) + 0.5 * e[i]!);
    near(out.x!, step(step(START, noise.slice(0, 4)), noise.slice(4)));
  });

  it("takes a step size for each step, with noise and without", () => {
    const deltas = [0.8, 0.4, 0.2];
    const still = chain((g) => ({ steps: 3, stepSize: feed(g, "delta", [3]) }), { delta: deltas });
    near(still.x!, START.map((v) => deltas.reduce((x, d) => x * (1 - d * d / 2), v)));
    const noise = Array.from({ length: 12 }, (_, i) => Math.cos(i));
    const noisy = chain((g) => ({ steps: 3, stepSize: feed(g, "delta", [3]), noise: feed(g, "eps", [3, ...SHAPE]) }), {
      delta: deltas,
      eps: noise,
    });
    near(noisy.x!, START.map((v, i) => deltas.reduce((x, d, t) => x * (1 - d * d / 2) + d * noise[4 * t + i]!, v)));
    // Step sizes that are all the same make the same chain as one.
    const drawn = (size: (g: Graph) => Value | number) =>
      chain((g) => ({ steps: 3, stepSize: size(g), noise: true, key: feed(g, "key", [4], "u32") }), {
        key: [3, 0, 0, 0],
        delta: [0.4, 0.4, 0.4],
      }).x!;
    near(drawn((g) => feed(g, "delta", [3])), drawn(() => 0.4));
  });

  it("is differentiated through, with a step size for each step", () => {
    checkGradient({
      shapes: [SHAPE, [3]],
      build: (g, [x, deltas]) => langevin(g, quarticEnergy, x!, { steps: 3, stepSize: deltas! }).x,
      at: (i, _, seed) => i === 0 ? gaussian(seed, "x", 4) : Float64Array.of(0.5, 0.4, 0.3),
    });
  });

  it("draws new noise in each step, by sample", () => {
    const key = (first: number): Record<string, number[]> => ({ key: [3, 0, first, 0] });
    const of = (first: number) =>
      chain(
        (g) => ({ steps: 2, stepSize: 0.5, noise: true, key: feed(g, "key", [4], "u32"), trajectory: true }),
        key(first),
      );
    const out = of(0);
    const first = out.trajectory!.slice(4).map((v, i) => v - START[i]! * (1 - 0.125));
    const second = out.x!.map((v, i) => v - out.trajectory![4 + i]! * (1 - 0.125));
    assert(first.every((v, i) => Math.abs(v - second[i]!) > 1e-6));
    // Sample 1 of a batch that begins at 0 draws what sample 0 of one that begins at 1 draws.
    const shifted = of(1).trajectory!.slice(4).map((v, i) => v - START[i]! * (1 - 0.125));
    near(shifted.slice(0, 2), first.slice(2));
  });

  it("says what noise needs", () => {
    assertThrows(
      () => chain(() => ({ steps: 2, stepSize: 1, noise: true })),
      UsageError,
      "expected a key to draw the noise from",
    );
    assertThrows(
      () => chain((g) => ({ steps: 2, stepSize: 1, noise: feed(g, "eps", SHAPE) })),
      UsageError,
      "expected noise of shape 2x2x1x1x2, found 2x1x1x2",
    );
    assertThrows(
      () => chain((g) => ({ steps: 2, stepSize: feed(g, "delta", [3]) })),
      UsageError,
      "expected step sizes of shape 2, found 3",
    );
  });
});
