/** Work that several parts of an expression can share. */
import { E, type Expr, replace } from "../graph/expr.ts";

/** expm1(min(x, 0)) and expm1(min(−x, 0)) of the same x. */
interface Halves {
  readonly x: Expr;
  readonly below: Expr;
  readonly above: Expr;
}

/** x of expm1(min(x, 0)). */
function exponent(e: Expr): Expr | undefined {
  if (e.kind !== "op" || e.op !== "expm1") return undefined;
  const [limited] = e.args;
  if (limited?.kind !== "op" || limited.op !== "min") return undefined;
  const [x, zero] = limited.args;
  return zero?.kind === "const" && zero.value === 0 ? x : undefined;
}

function halvesIn(results: readonly Expr[]): Halves | undefined {
  const found = new Map<Expr, Expr>();
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (e.kind !== "op" || seen.has(e)) return;
    seen.add(e);
    e.args.forEach(visit);
    const x = exponent(e);
    if (x !== undefined) found.set(x, e);
  };
  results.forEach(visit);
  for (const [x, below] of found) {
    const above = found.get(E.neg(x));
    if (above !== undefined && above !== below) return { x, below, above };
  }
  return undefined;
}

/**
 * The same expressions with one exponential where two are never needed at once: elu(x) and elu(−x), and what their gradients need, take e^(−|x|) − 1 from
 * whichever side x lies on; on the other side it is 0. The results are the same but for the signs of zeros.
 */
export function shareExponentials(results: readonly Expr[]): readonly Expr[] {
  const halves = halvesIn(results);
  if (halves === undefined) return results;
  const { x, below, above } = halves;
  const shared = E.expm1(E.neg(E.abs(x)));
  const side = (y: Expr): Expr => E.select(E.lt(0, y), 0, shared);
  return shareExponentials(results.map((e) => replace(replace(e, below, side(x)), above, side(E.neg(x)))));
}
