// What a conformance case is, and building blocks for making one.

import * as b from "../../src/graph/build.ts";
import { type Expr, input } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import type { Op } from "../../src/graph/attrs.ts";
import type { Shape } from "../../src/graph/shape.ts";
import type { Dice } from "./dice.ts";

/** What a run reads, by name. */
export type Given = Readonly<Record<string, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>>;

/** A graph and its data. */
export interface Case {
  readonly graph: Graph;
  readonly feeds: Given;
  readonly states: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
}

/** How an op is tested. */
export interface Generator {
  readonly make: (dice: Dice) => Case;
  /** Largest difference, relative to the largest magnitude of the tensor; 0 = the same bits. */
  readonly tolerance: number;
  readonly reason: string;
}

/** A graph under construction together with its data. */
export class Builder {
  readonly graph = new Graph();
  readonly feeds: Record<string, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>> = {};
  readonly states: Record<string, Float32Array<ArrayBuffer>> = {};
  readonly dice: Dice;

  constructor(dice: Dice) {
    this.dice = dice;
  }

  feed(shape: Shape, data: Float32Array<ArrayBuffer> = this.dice.tensor(shape)): Value {
    const name = `x${Object.keys(this.feeds).length}`;
    this.feeds[name] = data;
    return b.feed(this.graph, name, shape);
  }

  state(shape: Shape): Value {
    const name = `w${Object.keys(this.states).length}`;
    this.states[name] = this.dice.tensor(shape);
    return b.state(this.graph, name, shape);
  }

  key(): Value {
    this.feeds.key = Uint32Array.of(this.dice.int(0, 1e9), this.dice.int(0, 100), this.dice.int(0, 1e6), 0);
    return b.feed(this.graph, "key", [4], "u32");
  }

  fetch(...values: readonly Value[]): Case {
    values.forEach((v, i) => this.graph.fetch(`y${i}`, v));
    return this;
  }
}

/** Turns a builder's function into a generator's. */
export function make(body: (c: Builder) => Case): (dice: Dice) => Case {
  return (dice) => body(new Builder(dice));
}
/** For what copies. */
export const EXACT = { tolerance: 0, reason: "moves numbers without arithmetic" } as const;

/** Generators of some ops. */
export type GeneratorsOf<K extends Op> = { readonly [P in K]: Generator };

/** Shapes of several ranks, small and not so small, odd in every dimension. */
export function someShape(dice: Dice): number[] {
  return dice.pick([[1], [7], [1000], [3, 5], [2, 33], [4, 3, 17], [2, 5, 3, 8], [2, 1, 3, 2, 5], [2, 3, 1, 2, 3, 2]]);
}

/** A map of one operation on given values, for the tests of the expression language. */
export function single(expr: Expr, columns: readonly Float32Array<ArrayBuffer>[]): Case {
  const graph = new Graph();
  const shape = [columns[0]!.length];
  const operands = columns.map((_, i) => b.feed(graph, `x${i}`, shape));
  graph.fetch("y0", graph.add("map", { expr, shape }, operands)[0]!);
  return { graph, feeds: Object.fromEntries(columns.map((data, i) => [`x${i}`, data])), states: {} };
}

/** `input(0)`, `input(1)`, … up to `n`. */
export function inputs(n: number): Expr[] {
  return Array.from({ length: n }, (_, i) => input(i));
}
