/** Which items form the commit: the maps that write states in place, last of all. */
import type { Value } from "../graph/graph.ts";
import { sameShape } from "../graph/shape.ts";
import { type Item, nodesOf, readsOf, rootOf } from "./items.ts";

/** Whether the item reads `v`, and if so only element by element in a map. */
function reading(item: Item, v: Value): "no" | "same element" | "otherwise" {
  let answer: "no" | "same element" | "otherwise" = "no";
  const inside = new Set(nodesOf(item).flatMap((n) => n.outputs));
  for (const node of nodesOf(item)) {
    for (const x of readsOf(node)) {
      if (inside.has(x) || rootOf(x) !== v) continue;
      if (item.kind !== "map" || x !== v) return "otherwise";
      answer = "same element";
    }
  }
  return answer;
}

/** Windows read nothing by themselves: who reads them does. */
function isWindow(item: Item): boolean {
  return item.kind === "node" && (item.node.op === "view" || item.node.op === "stop_gradient");
}

/** Whether the map that makes `next` may write it over `old`: nobody reads `old` later, and it itself only element by element. */
export function overwritable(old: Value, next: Value, items: readonly Item[]): boolean {
  const at = items.findIndex((item) => item.kind === "map" && item.cluster.outputs.includes(next));
  if (at < 0 || !sameShape(old.shape, next.shape)) return false;
  return items.every((item, i) => {
    if (isWindow(item)) return true;
    const how = reading(item, old);
    return how === "no" || i < at || (i === at && how === "same element");
  });
}

export interface Split {
  readonly early: Item[];
  readonly commit: Item[];
  /** States that a commit item writes in place. */
  readonly inPlace: ReadonlySet<string>;
}

/** Maps that make the next value of a state, and are read by nobody but such maps, come last: the commit. */
export function splitCommit(
  items: readonly Item[],
  assigns: readonly { name: string; value: Value }[],
  states: ReadonlyMap<string, Value>,
): Split {
  const maps = new Map<Value, Item>();
  for (const item of items) if (item.kind === "map") { for (const v of item.cluster.outputs) maps.set(v, item); }
  const times = new Map<Value, number>();
  for (const { value } of assigns) times.set(value, (times.get(value) ?? 0) + 1);
  const readersOf = new Map<Value, Set<Item>>();
  for (const item of items) {
    for (const v of nodesOf(item).flatMap(readsOf).map(rootOf)) {
      const set = readersOf.get(v);
      if (set) set.add(item);
      else readersOf.set(v, new Set([item]));
    }
  }
  const late = new Set<Item>();
  for (const item of [...items].reverse()) {
    if (item.kind !== "map" || !item.cluster.outputs.some((v) => times.has(v))) continue;
    const others = item.cluster.outputs.flatMap((v) => [...(readersOf.get(v) ?? [])]);
    if (others.every((r) => r === item || late.has(r) || isWindow(r))) late.add(item);
  }
  const commit = items.filter((i) => late.has(i));
  const readers = new Map<Value, { item: Item; how: string }[]>();
  const olds = new Set(states.values());
  for (const item of commit) {
    const seen = new Set(nodesOf(item).flatMap(readsOf).map(rootOf).filter((v) => olds.has(v)));
    for (const v of seen) {
      const how = reading(item, v);
      if (how === "no") continue;
      const list = readers.get(v);
      if (list) list.push({ item, how });
      else readers.set(v, [{ item, how }]);
    }
  }
  const inPlace = new Set<string>();
  for (const { name, value } of assigns) {
    const item = maps.get(value);
    const old = states.get(name);
    if (!item || !late.has(item) || times.get(value) !== 1 || (old && !sameShape(old.shape, value.shape))) continue;
    const safe = !old || (readers.get(old) ?? []).every((r) => r.item === item && r.how === "same element");
    if (safe) inPlace.add(name);
  }
  return { early: items.filter((i) => !late.has(i)), commit, inPlace };
}
