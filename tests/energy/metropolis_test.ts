import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { langevin, type LangevinOptions } from "../../src/energy/langevin.ts";
import { UsageError } from "../../src/errors.ts";
import { feed, map, reshape, sum } from "../../src/graph/build.ts";
import { E, type Expr } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { normals, uniforms } from "../../src/random.ts";
import { interpret } from "../support/interpreter.ts";

/** An energy of one number per image: its graph, and the same in float64. */
interface Known {
  readonly graph: (x: Expr) => Expr;
  readonly f: (x: number) => number;
  readonly slope: (x: number) => number;
}

const GAUSSIAN: Known = { graph: (x) => E.mul(-0.5, E.square(x)), f: (x) => -x * x / 2, slope: (x) => -x };
/** Two modes of unequal weight. */
const MIXTURE: Known = {
  graph: (x) =>
    E.log(
      E.add(
        E.mul(0.7, E.exp(E.mul(-8, E.square(E.sub(x, 0.6))))),
        E.mul(0.3, E.exp(E.mul(-8, E.square(E.add(x, 0.5))))),
      ),
    ),
  f: (x) => Math.log(0.7 * Math.exp(-8 * (x - 0.6) ** 2) + 0.3 * Math.exp(-8 * (x + 0.5) ** 2)),
  slope: (x) => {
    const [a, b] = [0.7 * Math.exp(-8 * (x - 0.6) ** 2), 0.3 * Math.exp(-8 * (x + 0.5) ** 2)];
    return (-16 * (x - 0.6) * a - 16 * (x + 0.5) * b) / (a + b);
  },
};

function chain(
  { graph }: Known,
  start: ArrayLike<number>,
  options: (g: Graph) => LangevinOptions,
  feeds: Record<string, ArrayLike<number>> = {},
) {
  const g = new Graph();
  const [n, width] = [feeds["accept"] === undefined ? start.length : 2, feeds["accept"] === undefined ? 1 : 2];
  const x0 = feed(g, "x", [n, 1, 1, width]);
  const energy = (x: Value): Value => reshape(sum(map([x], graph), [1, 2, 3]), [n]);
  const run = langevin(g, energy, x0, options(g));
  g.fetch("x", run.x);
  if (run.accepted) g.fetch("accepted", run.accepted);
  if (run.energies) g.fetch("energies", run.energies);
  if (run.steps) g.fetch("clampedPixels", run.steps.clampedPixels);
  return interpret(g, { feeds: { x: start, ...feeds } }).fetches;
}

/** Chains of many numbers, each of them a chain of its own. */
function sampled(known: Known, start: ArrayLike<number>, options: Partial<LangevinOptions> & { stepSize: number }) {
  const out = chain(
    known,
    start,
    (g) => ({ steps: 40, noise: true, key: feed(g, "key", [4], "u32"), ...options }),
    { key: [5, 0, 0, 0] },
  );
  const x = Array.from(out.x!);
  const mean = (of: (x: number) => number): number => x.reduce((total, v) => total + of(v), 0) / x.length;
  const accepted = out.accepted ? out.accepted.reduce((a, b) => a + b) / out.accepted.length : 1;
  return { mean, accepted, x };
}

/** E[of(x)] and its standard deviation under exp f on [low, high]. */
function truth({ f }: Known, [low, high]: readonly [number, number], of: (x: number) => number) {
  let [weight, first, second] = [0, 0, 0];
  const points = 20_000;
  for (let i = 0; i < points; i++) {
    const x = low + (high - low) * (i + 0.5) / points;
    const p = Math.exp(f(x));
    [weight, first, second] = [weight + p, first + p * of(x), second + p * of(x) ** 2];
  }
  const expected = first / weight;
  return { expected, deviation: Math.sqrt(second / weight - expected ** 2) };
}

describe("metropolis", () => {
  it("makes the moves of its formula, with both clamps, and keeps what it rejects", () => {
    const [T, delta, clampTo, range] = [6, 0.6, 0.1, [-1, 1] as const];
    const [start, noise] = [[0.9, -0.4, 0.2, -0.95], normals(3, "noise", T * 4)];
    const accept = uniforms(3, "accept", T * 2);
    const out = chain(MIXTURE, start, (g) => ({
      steps: T,
      stepSize: delta,
      noise: feed(g, "noise", [T, 2, 1, 1, 2]),
      metropolis: feed(g, "accept", [T, 2]),
      moveClamp: clampTo,
      range,
      energies: true,
      watch: feed(g, "origin", [2, 1, 1, 2]),
    }), { noise, accept, origin: start });

    const move = (x: number): number => Math.min(clampTo, Math.max(-clampTo, delta ** 2 / 2 * MIXTURE.slope(x)));
    const fold = (y: number): [number, number] => y > 1 ? [2 - y, -1] : y < -1 ? [-2 - y, -1] : [y, 1];
    const x = [...start];
    const [verdicts, energies, outside] = [[] as number[], [] as number[], [] as number[]];
    for (let t = 0; t < T; t++) {
      for (const n of [0, 1]) {
        const at = [x[2 * n]!, x[2 * n + 1]!];
        const eps = [noise[4 * t + 2 * n]!, noise[4 * t + 2 * n + 1]!];
        const raw = at.map((v, i) => v + move(v) + delta * eps[i]!);
        const folded = raw.map(fold);
        const f = (xs: number[]): number => xs.reduce((total, v) => total + MIXTURE.f(v), 0);
        // The density of a step from b to a, up to what cancels.
        const back = folded.reduce((s, [v, sign], i) => s - (at[i]! - raw[i]! - sign * move(v)) ** 2, 0) /
          (2 * delta ** 2);
        const forth = -eps.reduce((s, e) => s + e * e, 0) / 2;
        const ok = Math.log(accept[2 * t + n]!) < f(folded.map(([v]) => v)) - f(at) + back - forth;
        verdicts.push(ok ? 1 : 0);
        energies.push(f(at));
        outside.push(raw.filter((v) => Math.abs(v) > 1).length / 2);
        if (ok) folded.forEach(([v], i) => x[2 * n + i] = v);
      }
    }
    assertEquals(Array.from(out.accepted!), verdicts);
    assert(verdicts.includes(0) && verdicts.includes(1) && outside.some((share) => share > 0));
    out.x!.forEach((v, i) => assertAlmostEquals(v, x[i]!, 1e-6));
    out.energies!.forEach((v, i) => assertAlmostEquals(v, energies[i]!, 1e-5));
    out.clampedPixels!.forEach((v, i) => assertAlmostEquals(v, outside[i]!, 1e-6));
  });

  it("samples a Gaussian without bias at a step size at which the unadjusted chain is far off", () => {
    const start = normals(1, "start", 3000);
    const stepSize = Math.sqrt(1.5);
    const plain = sampled(GAUSSIAN, start, { stepSize });
    const adjusted = sampled(GAUSSIAN, start, { stepSize, metropolis: true });
    const square = (x: number): number => x * x;
    // The variance of x ← (1 − δ²/2)·x + δ·ε is δ²/(1 − (1 − δ²/2)²) = 1.6; that of a mean of squares 2σ⁴/n.
    assertAlmostEquals(plain.mean(square), 1.6, 5 * 1.6 * Math.sqrt(2 / 3000));
    assertAlmostEquals(adjusted.mean(square), 1, 5 * Math.sqrt(2 / 3000));
    assertAlmostEquals(adjusted.mean((x) => x), 0, 5 / Math.sqrt(3000));
    assertAlmostEquals(adjusted.mean((x) => x ** 4), 3, 5 * Math.sqrt(96 / 3000));
    assert(adjusted.accepted > 0.5 && adjusted.accepted < 0.95, `${adjusted.accepted}`);
  });

  it("samples a mixture on a range, with both clamps, without bias", () => {
    const range = [-0.8, 0.9] as const;
    const start = uniforms(2, "start", 3000).map((u) => range[0] + u * (range[1] - range[0]));
    const options = { stepSize: 0.5, moveClamp: 0.05, range };
    const plain = sampled(MIXTURE, start, options);
    const adjusted = sampled(MIXTURE, start, { ...options, metropolis: true });
    const above = (x: number): number => x > 0.1 ? 1 : 0;
    const nearEnd = (x: number): number => x > 0.8 ? 1 : 0;
    for (const  of of[(x: number) => x, (x: number) => x * x, above, nearEnd]) {
      const { expected, deviation } = truth(MIXTURE, range, of);
      assertAlmostEquals(adjusted.mean(of), expected, 5 * deviation / Math.sqrt(3000));
    }
    // A clamp to the range leaves a good part of the numbers at its ends.
    const { expected, deviation } = truth(MIXTURE, range, nearEnd);
    assert(plain.mean(nearEnd) > expected + 10 * deviation / Math.sqrt(3000));
    assert(adjusted.x.every((v) => v >= range[0] && v <= range[1]));
  });

  it("rejects what is not a number", () => {
    const cliff: Known = { ...GAUSSIAN, graph: (x) => E.log(E.sub(1, E.square(x))) };
    const { x } = sampled(cliff, normals(1, "start", 200).map((v) => Math.tanh(v / 2)), {
      stepSize: 1.5,
      metropolis: true,
    });
    assert(x.every((v) => Math.abs(v) < 1));
  });

  it("says what it needs", () => {
    assertThrows(
      () => chain(GAUSSIAN, [0], () => ({ steps: 2, stepSize: 1, metropolis: true })),
      UsageError,
      "expected noise with Metropolis adjustment, found none",
    );
    assertThrows(
      () =>
        chain(
          GAUSSIAN,
          [0],
          (g) => ({ steps: 2, stepSize: 1, noise: feed(g, "e", [2, 1, 1, 1, 1]), metropolis: true }),
        ),
      UsageError,
      "expected a key to draw what moves are accepted by",
    );
    assertThrows(
      () =>
        chain(GAUSSIAN, [0], (g) => ({
          steps: 2,
          stepSize: 1,
          noise: feed(g, "e", [2, 1, 1, 1, 1]),
          metropolis: feed(g, "u", [1, 2]),
        })),
      UsageError,
      "expected uniforms of shape 2x1, found 1x2",
    );
  });
});
