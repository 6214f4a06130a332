/** Adjoint of a loop: a loop over the stored carried tensors, backwards. */
import * as b from "../graph/build.ts";
import type { Node, Value } from "../graph/graph.ts";
import type { Contribution, Vjp } from "./contract.ts";
import { capturesOf } from "../graph/captures.ts";
import { replay } from "./replay.ts";

type Repeat = Extract<Node, { op: "repeat" }>;

/** The carried tensors as each step found them, [count, …]: results of the loop if its body stacks them, else of a second run. */
function history(node: Repeat): Value[] {
  const { region, carried, count, reversed } = node.attrs;
  const g = node.outputs[0]!.graph;
  const wanted = region.params.slice(0, carried);
  const places = wanted.map((p) => region.results.indexOf(p, carried));
  if (places.every((i) => i >= 0)) return places.map((i) => node.outputs[i]!);
  const again = b.repeat(g, count, node.inputs.slice(0, carried), (now, scanned) => {
    const at = new Map<Value, Value>([...now, ...scanned].map((v, i) => [region.params[i]!, v]));
    replay(g, region.nodes, at);
    return { carried: region.results.slice(0, carried).map((v) => at.get(v) ?? v), stacked: now };
  }, { scanned: node.inputs.slice(carried), reversed });
  return [...again.stacked];
}

/** Contributions to the first values, the scanned tensors and whatever the body captures. */
export function pullRepeat(
  node: Repeat,
  cotangents: readonly (Value | undefined)[],
  needs: (v: Value) => boolean,
  vjp: Vjp,
): Contribution[] {
  const { region, carried, count, reversed } = node.attrs;
  const g = node.outputs[0]!.graph;
  const captured = capturesOf(region).filter(needs);
  const scanned = node.inputs.slice(carried);
  const past = history(node);
  const stackedBars = cotangents.slice(carried);
  const live = stackedBars.flatMap((c, i) => (c ? [i] : []));
  const zero = (v: Value): Value => b.fill(g, 0, v.shape);
  const initial = [
    ...node.outputs.slice(0, carried).map((v, i) => cotangents[i] ?? zero(v)),
    ...captured.map(zero),
  ];
  const result = b.repeat(g, count, initial, (now, slices) => {
    const found = slices.slice(0, past.length + scanned.length);
    const bars = slices.slice(found.length);
    const at = new Map<Value, Value>(region.params.map((p, i) => [p, found[i]!]));
    replay(g, region.nodes, at);
    const look = (v: Value): Value => at.get(v) ?? v;
    const seeds = [
      ...region.results.slice(0, carried).map((v, i) => ({ value: look(v), cotangent: now[i]! })),
      ...live.map((i, k) => ({ value: look(region.results[carried + i]!), cotangent: bars[k]! })),
    ];
    const grads = vjp(seeds, [...found, ...captured]);
    return {
      carried: [
        ...grads.slice(0, carried),
        ...captured.map((_, i) => b.add(now[carried + i]!, grads[found.length + i]!)),
      ],
      stacked: grads.slice(carried, found.length),
    };
  }, { scanned: [...past, ...scanned, ...live.map((i) => stackedBars[i]!)], reversed: !reversed });
  return [
    ...node.inputs.slice(0, carried).map((to, i) => ({ to, value: result.carried[i]! })),
    ...scanned.map((to, i) => ({ to, value: result.stacked[i]! })),
    ...captured.map((to, i) => ({ to, value: result.carried[carried + i]! })),
  ].filter(({ to }) => needs(to));
}
