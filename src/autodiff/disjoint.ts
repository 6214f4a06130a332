/** Whether two windows of one tensor share no element. */
import { furthest, type Layout, numel, type Shape } from "../graph/shape.ts";

const known = new Map<string, boolean>();

function elements(l: Layout): Set<number> {
  let at = [l.offset];
  l.shape.forEach((size, k) => {
    at = at.flatMap((o) => Array.from({ length: size }, (_, i) => o + i * l.strides[k]!));
  });
  return new Set(at);
}

/** Drops outer dimensions that both windows step through alike without their insides ever meeting (the batch, mostly). */
function trim(p: Layout, q: Layout): [Layout, Layout] {
  while (p.shape.length > 0 && q.shape.length > 0 && p.shape[0] === q.shape[0] && p.strides[0] === q.strides[0]) {
    const stride = p.strides[0]!;
    const inside = (l: Layout): Layout => ({ offset: l.offset, shape: l.shape.slice(1), strides: l.strides.slice(1) });
    const a = inside(p), b = inside(q);
    if (furthest(a) >= stride || furthest(b) >= stride) break;
    [p, q] = [a, b];
  }
  return [p, q];
}

/** Exact, by enumeration of the smaller of what is left after dropping common outer dimensions; remembered, as layouts repeat from layer to layer. */
export function disjoint(shape: Shape, p: Layout, q: Layout): boolean {
  if (furthest(p) < q.offset || furthest(q) < p.offset) return true;
  const [a, b] = trim(p, q);
  const key = `${shape}|${a.offset},${a.shape},${a.strides}|${b.offset},${b.shape},${b.strides}`;
  let answer = known.get(key);
  if (answer === undefined) {
    answer = numel(a.shape) + numel(b.shape) <= numel(shape) && elements(a).isDisjointFrom(elements(b));
    known.set(key, answer);
  }
  return answer;
}
