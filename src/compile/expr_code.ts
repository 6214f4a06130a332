/** Expressions as the words that the native tile interpreter decodes. */
import type { Expr } from "../graph/expr.ts";
import { floatBits } from "./lir.ts";
import { EXPR_CODES } from "./opcodes.ts";

/** [nConst, const bits…, nInstr, (op, a, b, c)…, result ids…]. Value ids: inputs, then constants, then instructions. */
export function encodeExprs(results: readonly Expr[], inputs: number): number[] {
  const order: Expr[] = [];
  const consts: Expr[] = [];
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "const") consts.push(e);
    if (e.kind === "op") {
      e.args.forEach(visit);
      order.push(e);
    }
  };
  results.forEach(visit);
  const ids = new Map<Expr, number>();
  consts.forEach((e, i) => ids.set(e, inputs + i));
  order.forEach((e, i) => ids.set(e, inputs + consts.length + i));
  const idOf = (e: Expr): number => (e.kind === "input" ? e.index : ids.get(e)!);
  const words = [consts.length];
  for (const e of consts) if (e.kind === "const") words.push(floatBits(e.value));
  words.push(order.length);
  for (const e of order) {
    if (e.kind === "op") {
      words.push(EXPR_CODES[e.op], idOf(e.args[0]!), e.args[1] ? idOf(e.args[1]) : 0, e.args[2] ? idOf(e.args[2]) : 0);
    }
  }
  for (const e of results) words.push(idOf(e));
  return words;
}
