/** The intermediate representation: immutable nodes with static shapes, appended to a graph. Equal nodes are the same node. */
import { ShapeError } from "../errors.ts";
import type { Attrs, Op } from "./attrs.ts";
import { OPS } from "./ops.ts";
import type { DType, Shape } from "./shape.ts";

/** One result of a node: a tensor. */
export interface Value {
  readonly id: number;
  readonly node: Node;
  /** Which of the node's results. */
  readonly index: number;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly graph: Graph;
}

interface NodeOf<K extends Op> {
  readonly op: K;
  readonly attrs: Attrs[K];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Layer path, `flow.flows.checkers.2.nn`: for printing, errors, profiles and recomputation. */
  readonly scope: string;
  /** Nesting depth in repeats: 0 = top level. */
  readonly depth: number;
  /** The segment whose inner values gradients recompute instead of keeping, if any. */
  readonly segment: Segment | undefined;
}

/** One application of an operation; discriminated by `op`. */
export type Node = { [K in Op]: NodeOf<K> }[Op];

/** Nodes that {@linkcode Graph.recomputed} marked: gradients run them again rather than store what they made. */
export interface Segment {
  readonly nodes: readonly Node[];
}

/** The body of a repeat. */
export interface Region {
  /** Carried tensors, then slices of the scanned ones. */
  readonly params: readonly Value[];
  readonly nodes: readonly Node[];
  /** Next carried tensors, then per-step results to stack. */
  readonly results: readonly Value[];
}

/** What a program delivers: a tensor read back by the host, or the next value of a state. */
export type Result =
  | { readonly kind: "fetch"; readonly name: string; readonly value: Value }
  | { readonly kind: "assign"; readonly name: string; readonly value: Value };

interface Block {
  readonly nodes: Node[];
  /** Common subexpressions of this block; outer blocks' are visible too. */
  readonly known: Map<string, Node>;
}

/** A computation under construction. Builders append to it; passes read it. */
export class Graph {
  #blocks: Block[] = [{ nodes: [], known: new Map() }];
  #scope: string[] = [];
  #results: Result[] = [];
  #declared = new Set<string>();
  #names = new Map<string, Shape>();
  #nextId = 0;
  #segment: { nodes: Node[] } | undefined;

  /** Top-level nodes in order of creation, which is a topological order. */
  get nodes(): readonly Node[] {
    return this.#blocks[0]!.nodes;
  }

  /** Fetches and assignments in order of declaration. */
  get results(): readonly Result[] {
    return this.#results;
  }

  /** How many repeats are open. */
  get depth(): number {
    return this.#blocks.length - 1;
  }

  /** The current layer path. */
  get scope(): string {
    return this.#scope.join(".");
  }

  /** Runs `body` with `name` appended to the layer path. */
  scoped<T>(name: string, body: () => T): T {
    if (name === "") return body();
    this.#scope.push(name);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /**
   * Builds `body` as a segment that gradients recompute: only what it reads and what it returns is kept between the passes
   * (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Segments do not nest: an inner one joins the outer.
   */
  recomputed<T>(body: () => T): T {
    if (this.#segment) return body();
    this.#segment = { nodes: [] };
    try {
      return body();
    } finally {
      this.#segment = undefined;
    }
  }

  /**
   * Appends a node and returns its results; an equal node that is visible is returned instead, unless `fresh`.
   * Throws ShapeError when operands do not fit the op.
   */
  add<K extends Op>(
    op: K,
    attrs: Attrs[K],
    inputs: readonly Value[],
    options: { fresh?: boolean } = {},
  ): readonly Value[] {
    const spec = OPS[op];
    if (spec.arity !== undefined && inputs.length !== spec.arity) {
      throw new ShapeError(`${op}: expected ${spec.arity} operands, found ${inputs.length}`);
    }
    for (const v of inputs) {
      if (v.graph !== this) throw new ShapeError(`${op}: expected operands of one graph, found one of another`);
    }
    const unique = options.fresh === true || op === "repeat" || op === "param";
    const key = unique ? "" : `${op}|${spec.text(attrs)}|${inputs.map((v) => v.id)}`;
    if (!unique) {
      for (const block of this.#blocks) {
        const node = block.known.get(key);
        if (node) return node.outputs;
      }
    }
    const shapes = spec.shapes(attrs, inputs);
    const outputs: Value[] = [];
    const node = {
      op,
      attrs,
      inputs,
      outputs,
      scope: this.scope,
      depth: this.depth,
      segment: this.#segment,
    } as unknown as Node;
    shapes.forEach(({ shape, dtype }, index) => {
      outputs.push({ id: this.#nextId++, node, index, shape, dtype: dtype ?? "f32", graph: this });
    });
    this.#register(op, attrs);
    const block = this.#blocks[this.#blocks.length - 1]!;
    block.nodes.push(node);
    if (this.depth === 0) this.#segment?.nodes.push(node);
    if (!unique) block.known.set(key, node);
    return outputs;
  }

  /** Builds the body of a repeat in a block of its own; loop-invariant nodes move in front of the loop. */
  region(shapes: readonly Shape[], build: (params: readonly Value[]) => readonly Value[]): Region {
    const block: Block = { nodes: [], known: new Map() };
    this.#blocks.push(block);
    let params: Value[], results: readonly Value[];
    try {
      params = shapes.map((shape) => this.add("param", { shape }, [])[0]!);
      results = build(params);
    } finally {
      this.#blocks.pop();
    }
    const varying = new Set<Node>();
    const nodes: Node[] = [];
    const outer = this.#blocks[this.#blocks.length - 1]!;
    for (const node of block.nodes) {
      // A draw that is countered by this loop differs in each step even though its operands do not.
      const drawn = "loop" in node.attrs && node.attrs.loop > this.depth;
      const varies = node.op === "param" || node.op === "repeat" || drawn ||
        node.inputs.some((v) => varying.has(v.node));
      if (varies) {
        varying.add(node);
        nodes.push(node);
      } else outer.nodes.push(node);
    }
    return { params, nodes, results };
  }

  /** Declares a tensor that the host reads after a run. */
  fetch(name: string, value: Value): void {
    this.#result({ kind: "fetch", name, value });
  }

  /** Declares the next value of state `name`; it takes effect in the commit, together with all others. */
  assign(name: string, value: Value): void {
    this.#result({ kind: "assign", name, value });
  }

  #result(result: Result): void {
    if (this.depth > 0) {
      throw new ShapeError(`${result.kind} "${result.name}": expected at top level, found inside a repeat`);
    }
    const key = `${result.kind} ${result.name}`;
    if (this.#declared.has(key)) {
      throw new ShapeError(`${result.kind} "${result.name}": expected once, found twice`);
    }
    this.#declared.add(key);
    this.#results.push(result);
  }

  #register<K extends Op>(op: K, attrs: Attrs[K]): void {
    if (op !== "feed" && op !== "state") return;
    const { name, shape } = attrs as Attrs["state"];
    const known = this.#names.get(`${op} ${name}`);
    if (known) throw new ShapeError(`${op} "${name}": expected one shape, found ${known} and ${shape}`);
    this.#names.set(`${op} ${name}`, shape);
  }
}
