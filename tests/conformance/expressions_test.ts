// Every operation of the expression language on ordinary and extreme numbers, and random graphs.

import { assert } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { compileGraph } from "../../src/compile/compile.ts";
import * as b from "../../src/graph/build.ts";
import { apply, E, type Expr, EXPR_OPS, type ExprOp } from "../../src/graph/expr.ts";
import { numel } from "../../src/graph/shape.ts";
import { randomGraphs } from "../support/random_graphs.ts";
import { Builder, inputs, single } from "./case.ts";
import { CASES, checkCase, type Named, openDevices, runOn } from "./devices.ts";
import { Dice } from "./dice.ts";

/** Units in the last place by which an operation may differ from the correctly rounded value; 0 = the same bits. */
const ULPS: Readonly<Record<ExprOp, number>> = {
  add: 0,
  sub: 0,
  mul: 0,
  div: 0,
  neg: 0,
  abs: 0,
  max: 0,
  min: 0,
  exp: 4,
  log: 4,
  expm1: 4,
  log1p: 4,
  sqrt: 0,
  rsqrt: 2,
  recip: 0,
  tanh: 4,
  sigmoid: 4,
  softplus: 4,
  lt: 0,
  le: 0,
  eq: 0,
  select: 0,
  is_finite: 0,
  floor: 0,
  elu: 4,
};

const SPECIAL = [
  0,
  -0,
  1,
  -1,
  0.5,
  2,
  1e-3,
  -1e-3,
  1e-7,
  -1e-7,
  1e-20,
  -1e-20,
  3e38,
  -3e38,
  20,
  -20,
  88,
  -88,
  90,
  -90,
  104,
  -104,
  1e4,
  -1e4,
  Infinity,
  -Infinity,
  NaN,
];
const SMALLEST_NORMAL = 2 ** -126;

/** All pairs of special values, then draws of several sizes. */
function columns(arity: number): Float32Array<ArrayBuffer>[] {
  const pairs = SPECIAL.flatMap((x) => SPECIAL.map((y) => [x, y] as const));
  const dice = new Dice("expressions", arity);
  const draws = (): number[] => [0.01, 1, 10, 60].flatMap((scale) => [...dice.tensor([500], scale)]);
  const rows = [pairs.map(([x]) => x), pairs.map(([, y]) => y), pairs.map(([x, y]) => x - y)];
  return rows.slice(0, arity).map((special) => Float32Array.from([...special, ...draws()]));
}

function ulp(v: number): number {
  return 2 ** (Math.floor(Math.log2(Math.max(Math.abs(v), SMALLEST_NORMAL))) - 23);
}

function close(expected: number, found: number, ulps: number): boolean {
  const rounded = Math.fround(expected);
  if (Number.isNaN(rounded) || !Number.isFinite(rounded)) {
    return Object.is(rounded, found) || (ulps > 0 && Math.abs(found) >= 3.4e38 && found * rounded > 0);
  }
  // Denormal results may be flushed to zero, and signs of zero are nobody's business.
  if (Math.abs(rounded) < SMALLEST_NORMAL) return Math.abs(found) <= SMALLEST_NORMAL;
  return rounded === found || Math.abs(expected - found) <= ulps * ulp(expected);
}

const sigma = (x: Expr): Expr => E.sigmoid(x);
const slope = (x: Expr): Expr => E.add(sigma(x), E.mul(E.swish(x), E.sub(1, sigma(x))));

describe("expression conformance", () => {
  let devices: Named[] = [];
  beforeAll(() => {
    devices = openDevices();
  });
  afterAll(() => devices.forEach(({ device }) => device.close()));

  for (const op of Object.keys(EXPR_OPS) as ExprOp[]) {
    it(`${op}: ${ULPS[op] === 0 ? "correctly rounded" : `within ${ULPS[op]} ulp`}, special values included`, async () => {
      const { arity } = EXPR_OPS[op];
      const given = columns(arity);
      const c = single(apply(op, ...inputs(arity)), given);
      const { bytes } = compileGraph(c.graph);
      const value = EXPR_OPS[op].value as (...args: number[]) => number;
      for (const { name, device } of devices) {
        const { y0 } = await runOn(device, bytes, c);
        y0!.forEach((found, i) => {
          const args = given.map((column) => column[i]!);
          const expected = value(...args);
          assert(
            close(expected, found, ULPS[op]),
            `${op}(${args.join(", ")}) on ${name}: expected ${Math.fround(expected)}, found ${found}`,
          );
        });
      }
    });
  }

  it("x·σ(x) and its slope, in every combination that the CPU fuses or must not: within 2e-6", async () => {
    const values: readonly ((x: Expr) => Expr)[] = [
      E.swish,
      slope,
      (x) => E.square(E.swish(x)),
      sigma,
      (x) => E.sub(1, sigma(x)),
    ];
    for (let chosen = 1; chosen < 1 << values.length; chosen++) {
      const c = new Builder(new Dice("swish", chosen));
      const x = c.feed([[1, 15, 17, 300][chosen % 4]!]);
      const wanted = values.filter((_, i) => (chosen >> i) % 2 === 1);
      await checkCase(devices, c.fetch(...wanted.map((value) => b.map([x], value))), 2e-6, `combination ${chosen}`);
    }
  });

  it("that slope times something, in every combination: within 2e-6", async () => {
    const values: readonly ((x: Expr, z: Expr) => Expr)[] = [
      slope,
      (x, z) => E.mul(slope(x), z),
      (x, z) => E.mul(E.square(z), slope(x)),
      (x) => E.mul(slope(x), 0.5),
      (x, z) => E.mul(E.swish(x), E.mul(slope(z), z)),
    ];
    for (let chosen = 1; chosen < 1 << values.length; chosen++) {
      const c = new Builder(new Dice("slope", chosen));
      const x = c.feed([[1, 15, 17, 300][chosen % 4]!]);
      const z = c.feed(x.shape);
      const wanted = values.filter((_, i) => (chosen >> i) % 2 === 1);
      await checkCase(devices, c.fetch(...wanted.map((value) => b.map([x, z], value))), 2e-6, `combination ${chosen}`);
    }
  });

  it("random graphs: within 2e-5 (chains of well-conditioned float32 operations)", async () => {
    const graphs = fc.sample(randomGraphs(), { numRuns: 150, seed: 3 });
    for (const [i, { graph, feeds }] of graphs.entries()) {
      const dice = new Dice("graphs", i);
      const given = Object.fromEntries(feeds.map((v, k) => [`x${k}`, dice.tensor(v.shape)]));
      assert(feeds.every((v, k) => numel(v.shape) === given[`x${k}`]!.length));
      // Of these many each device takes the same share as of an op's cases.
      const taking = devices.filter(({ cases }) => i * CASES < graphs.length * cases);
      await checkCase(taking, { graph, feeds: given, states: {} }, 2e-5, `graph ${i}`);
    }
  });
});
