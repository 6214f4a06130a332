import { assert, assertAlmostEquals, assertEquals, assertStrictEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import {
  apply,
  constant,
  derivative,
  E,
  evaluate,
  type Expr,
  EXPR_OPS,
  type ExprOp,
  formatExpr,
  input,
  inputsOf,
  substitute,
} from "../../src/graph/expr.ts";
import { evaluateMap } from "../support/reference/expression.ts";
import { expressions } from "../support/random_graphs.ts";

const anywhere = [[-1.7, 0.6, 0.3], [0.4, -2.1, 1.2], [3.2, 0.9, -0.8]];
const positive = [[0.3, 1, 1], [1.8, 1, 1], [40, 1, 1]];

/** Points away from kinks and inside the domain of each operation. */
const POINTS: Record<ExprOp, readonly (readonly number[])[]> = {
  add: anywhere,
  sub: anywhere,
  mul: anywhere,
  div: anywhere,
  neg: anywhere,
  abs: anywhere,
  max: anywhere,
  min: anywhere,
  exp: anywhere,
  log: positive,
  expm1: anywhere,
  log1p: [[-0.6, 0, 0], ...positive],
  sqrt: positive,
  rsqrt: positive,
  recip: anywhere,
  tanh: anywhere,
  sigmoid: anywhere,
  softplus: anywhere,
  lt: anywhere,
  le: anywhere,
  eq: anywhere,
  select: [[0, 1.5, -0.5], [1, 1.5, -0.5]],
  is_finite: anywhere,
  floor: anywhere,
  elu: anywhere,
};

const STEP = 1e-6;

describe("derivative", () => {
  for (const [op, points] of Object.entries(POINTS) as [ExprOp, readonly number[][]][]) {
    it(`of ${op} agrees with finite differences`, () => {
      const operands = [input(0), input(1), input(2)].slice(0, EXPR_OPS[op].arity);
      const e = apply(op, ...operands);
      operands.forEach((_, k) => {
        // select's condition is a flag: nothing to differentiate.
        if (op === "select" && k === 0) return;
        const d = derivative(e, k);
        for (const point of points) {
          const at = (t: number): number => evaluate(e, point.map((v, i) => (i === k ? v + t : v)));
          const expected = (at(STEP) - at(-STEP)) / (2 * STEP);
          assertAlmostEquals(evaluate(d, point), expected, 1e-6 * (1 + Math.abs(expected)));
        }
      });
    });
  }

  it("of random expressions agrees with finite differences, twice", () => {
    const smooth = expressions(2, 4).filter((e) => !/lt|le|eq|floor|max|min|abs|select|elu/.test(formatExpr(e)));
    const points = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 2, maxLength: 2 });
    fc.assert(
      fc.property(smooth, points, (e, point) => {
        const first = derivative(e, 0);
        for (const [f, d] of [[e, first], [first, derivative(first, 0)]] as const) {
          const at = (t: number): number => evaluate(f, [point[0]! + t, point[1]!]);
          const expected = (at(1e-5) - at(-1e-5)) / 2e-5;
          assertAlmostEquals(evaluate(d, point), expected, 1e-4 * (1 + Math.abs(expected)));
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  it("of elu stays finite where the branch not taken would overflow", () => {
    const first = derivative(E.elu(input(0)), 0);
    const second = derivative(first, 0);
    assertEquals([-1000, 1000].map((x) => evaluate(first, [x])), [0, 1]);
    assertEquals([-1000, -1, 0.5, 1000].map((x) => evaluate(second, [x])), [0, Math.expm1(-1) + 1, 0, 0]);
  });

  it("of a clamp at its bound passes, as PyTorch's does", () => {
    const d = derivative(E.clamp(input(0), -1, 1), 0);
    assertEquals([-2, -1, 0, 1, 2].map((x) => evaluate(d, [x])), [0, 1, 1, 1, 0]);
  });

  it("by an absent input is the constant 0", () => {
    assertStrictEquals(derivative(E.exp(input(1)), 0), constant(0));
  });

  it("grows linearly with depth", () => {
    let e = input(0);
    for (let i = 0; i < 60; i++) e = E.mul(E.tanh(e), E.sigmoid(e));
    const seen = new Set<Expr>();
    const visit = (x: Expr): void => {
      if (seen.has(x)) return;
      seen.add(x);
      if (x.kind === "op") x.args.forEach(visit);
    };
    visit(derivative(e, 0));
    assert(seen.size < 60 * 15, `expected under ${60 * 15} nodes, found ${seen.size}`);
  });
});

/** An expression as plain data, which nothing simplifies. */
type Plain = number | { readonly input: number } | { readonly op: ExprOp; readonly args: readonly Plain[] };

const TOTAL: readonly ExprOp[] = [
  "add",
  "sub",
  "mul",
  "div",
  "neg",
  "abs",
  "max",
  "min",
  "exp",
  "tanh",
  "sigmoid",
  "lt",
  "le",
  "eq",
  "select",
];

function plains(depth: number): fc.Arbitrary<Plain> {
  const leaf: fc.Arbitrary<Plain> = fc.oneof(fc.constantFrom(-1, 0, 1, 0.5), fc.nat(1).map((k) => ({ input: k })));
  if (depth === 0) return leaf;
  const arg = plains(depth - 1);
  const op = fc.tuple(fc.constantFrom(...TOTAL), arg, arg, arg)
    .map(([name, ...args]): Plain => ({ op: name, args: args.slice(0, EXPR_OPS[name].arity) }));
  return fc.oneof({ weight: 1, arbitrary: leaf }, { weight: 4, arbitrary: op });
}

function build(p: Plain): Expr {
  if (typeof p === "number") return constant(p);
  return "input" in p ? input(p.input) : apply(p.op, ...p.args.map(build));
}

function value(p: Plain, inputs: readonly number[]): number {
  if (typeof p === "number") return p;
  if ("input" in p) return inputs[p.input]!;
  return (EXPR_OPS[p.op].value as (...v: number[]) => number)(...p.args.map((a) => value(a, inputs)));
}

const STEPS: readonly ExprOp[] = ["lt", "le", "eq"];

/**
 * Every intermediate result is finite in float32, as folded constants are, because 0·x = 0 may hide one that is not; and no comparison hangs on a rounding error.
 */
function tame(p: Plain, inputs: readonly number[]): boolean {
  if (!Number.isFinite(Math.fround(value(p, inputs)))) return false;
  if (typeof p === "number" || "input" in p) return true;
  const args = p.args.map((a) => value(a, inputs));
  if (STEPS.includes(p.op) && Math.abs(args[0]! - args[1]!) < 1e-4) return false;
  // What is 0 by the way it is made stays 0; a difference of equal values does not, when one of them is a folded constant.
  const exact = (q: Plain): boolean => typeof q === "number" || "input" in q || STEPS.includes(q.op);
  if (p.op === "select" && Math.abs(args[0]!) < 1e-4 && !exact(p.args[0]!)) return false;
  return p.args.every((a) => tame(a, inputs));
}

describe("expressions", () => {
  it("keep their value when they are simplified", () => {
    const cases = fc.tuple(plains(4), fc.array(fc.constantFrom(-2, -1, 0, 0.25, 1, 3), { minLength: 2, maxLength: 2 }));
    fc.assert(
      fc.property(cases.filter(([p, inputs]) => tame(p, inputs)), ([p, inputs]) => {
        const expected = value(p, inputs);
        // Folded constants are rounded to float32 once.
        assertAlmostEquals(evaluate(build(p), inputs), expected, 1e-5 * (1 + Math.abs(expected)));
      }),
      { numRuns: 1000 },
    );
  });

  it("are the same object when they are equal", () => {
    assertStrictEquals(E.mul(input(0), E.exp(input(1))), E.mul(input(0), E.exp(input(1))));
  });

  it("fold constants and identities", () => {
    const x = input(0);
    assertStrictEquals(E.add(x, 0), x);
    assertStrictEquals(E.mul(1, x), x);
    assertStrictEquals(E.mul(x, 0), constant(0));
    assertStrictEquals(E.neg(E.neg(x)), x);
    assertStrictEquals(E.add(2, 3), constant(5));
    assertStrictEquals(E.select(1, x, 4), x);
    assertEquals(formatExpr(E.add(x, E.neg(input(1)))), "sub(x0, x1)");
  });

  it("print, substitute and list their inputs", () => {
    const e = E.mul(input(3), E.sigmoid(input(1)));
    assertEquals(formatExpr(e), "mul(x3, sigmoid(x1))");
    assertEquals(inputsOf(e), [1, 3]);
    assertEquals(formatExpr(substitute(e, (k) => (k === 3 ? constant(1) : input(0)))), "sigmoid(x0)");
  });

  it("evaluate alike one by one and in bulk", () => {
    const n = 3000; // more than one block
    const inputs = [0.37, -1.1].map((f) => Float64Array.from({ length: n }, (_, i) => Math.sin(f * i) * 3));
    fc.assert(
      fc.property(expressions(2, 4), (e) => {
        const bulk = evaluateMap(e, inputs, n);
        for (const i of [0, 1, 2047, 2048, n - 1]) assertEquals(bulk[i], evaluate(e, inputs.map((x) => x[i]!)));
      }),
      { numRuns: 50 },
    );
  });

  it("of steps are 1 or 0, and select copies bits", () => {
    assertEquals(evaluate(E.lt(input(0), input(1)), [1, 2]), 1);
    assertEquals(evaluate(E.le(input(0), input(1)), [NaN, 2]), 0);
    assertEquals(evaluate(E.isFinite(input(0)), [Infinity]), 0);
    assertEquals(evaluate(E.select(input(0), input(1), input(2)), [0, NaN, 7]), 7);
    assertEquals(evaluate(E.max(input(0), input(1)), [NaN, 1]), NaN);
  });
});
