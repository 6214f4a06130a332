// Comparing what a graph means with what its lowered form does.

import { assert } from "@std/assert";
import { planArena } from "../../src/compile/arena.ts";
import { lower, type LowerOptions } from "../../src/compile/lower.ts";
import type { Graph, Node } from "../../src/graph/graph.ts";
import { numel, type Shape } from "../../src/graph/shape.ts";
import { gaussian } from "../support/gradient_check.ts";
import { type Bindings, interpret } from "../support/interpreter.ts";
import { runLowered } from "../support/lowered_interpreter.ts";

/** Everything on, and each thing off. */
export const OPTIONS: readonly LowerOptions[] = [{}, { fuse: false }, { epilogues: false }, { winograd: false }];

/** Normal draws for every feed and state; keys get small whole numbers. */
export function randomBindings(g: Graph, seed: number): Required<Bindings> {
  const of = (op: "feed" | "state"): Record<string, ArrayLike<number>> =>
    Object.fromEntries(g.nodes.flatMap((n: Node) => {
      if (n.op !== op) return [];
      const { name, shape } = n.attrs as { name: string; shape: Shape };
      return [[name, n.outputs[0]!.dtype === "u32" ? [seed, 2, 5, 0] : gaussian(seed, `${op} ${name}`, numel(shape))]];
    }));
  return { feeds: of("feed"), states: of("state") };
}

/** Lowers, plans, runs in float64, and compares with the graph itself. */
export function checkLowering(g: Graph, seed = 1, options: readonly LowerOptions[] = OPTIONS): void {
  const bindings = randomBindings(g, seed);
  const expected = interpret(g, bindings);
  for (const option of options) {
    const lowered = lower(g, option);
    const found = runLowered(g, lowered, planArena(lowered), bindings);
    const compare = (kind: "fetches" | "assigns"): void => {
      for (const [name, data] of Object.entries(expected[kind])) {
        const other = found[kind][name];
        assert(other?.length === data.length, `${name}: expected ${data.length} elements, found ${other?.length}`);
        data.forEach((v, i) => {
          const close = Object.is(v, other[i]) || Math.abs(v - other[i]!) <= 1e-9 * (1 + Math.abs(v));
          assert(close, `${kind} "${name}"[${i}] with ${JSON.stringify(option)}: expected ${v}, found ${other[i]}`);
        });
      }
    };
    compare("fetches");
    compare("assigns");
  }
}
