import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { shareExponentials } from "../../src/compile/share.ts";
import { derivative, E, evaluate, type Expr, formatExpr, input } from "../../src/graph/expr.ts";

const VALUES = [-Infinity, -90, -3, -1e-3, -1e-30, -0, 0, 1e-30, 0.5, 2, 90, Infinity, NaN];

function exponentials(results: readonly Expr[]): number {
  const seen = new Set<Expr>();
  const visit = (e: Expr): number => {
    if (e.kind !== "op" || seen.has(e)) return 0;
    seen.add(e);
    return e.args.reduce((n, a) => n + visit(a), e.op === "expm1" ? 1 : 0);
  };
  return results.reduce((n, e) => n + visit(e), 0);
}

/** Equal values, whatever the signs of zeros. */
function assertSame(shared: readonly Expr[], given: readonly Expr[], inputs: readonly number[]): void {
  shared.forEach((e, i) =>
    assertEquals(evaluate(e, inputs) + 0, evaluate(given[i]!, inputs) + 0, `${formatExpr(e)} at ${inputs}`)
  );
}

describe("shared exponentials", () => {
  const x = E.add(input(0), 0.25);
  const both = [E.elu(x), E.elu(E.neg(x))];

  it("elu(x) and elu(−x) need one", () => {
    const shared = shareExponentials(both);
    assertEquals([exponentials(both), exponentials(shared)], [2, 1]);
    for (const value of VALUES) assertSame(shared, both, [value]);
  });

  it("so do their gradients, at 0 and without the other side's infinities too", () => {
    const [up, down] = both as [Expr, Expr];
    const f = E.add(E.mul(up, input(1)), E.mul(down, input(2)));
    const given = [derivative(f, 0), f];
    const shared = shareExponentials(given);
    assertEquals([exponentials(given), exponentials(shared)], [2, 1]);
    for (const value of VALUES) {
      for (const bars of [[1, 0], [0, 1], [0.5, -2]]) assertSame(shared, given, [value, ...bars]);
    }
  });

  it("each x has its own, one inside another's too, and lone ones stay", () => {
    const y = input(1), inner = E.add(E.elu(y), E.elu(E.neg(y)));
    const given = [...both, E.elu(inner), E.elu(E.neg(inner)), E.elu(input(2))];
    const shared = shareExponentials(given);
    assertEquals([exponentials(given), exponentials(shared)], [7, 4]);
    for (const value of VALUES) assertSame(shared, given, [value, 1 - value, -value]);
    assert(shared[4] === given[4]);
  });
});
