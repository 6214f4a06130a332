/** Items to instructions: every value gets a window on a buffer, windows that ops cannot read are copied, loops and commits are laid out. */
import { ShapeError } from "../errors.ts";
import { constant, type Expr, input, substitute } from "../graph/expr.ts";
import type { Graph, Node, Value } from "../graph/graph.ts";
import { wholeLayout } from "../graph/ops.ts";
import { composeLayouts, isDense, numel, type Shape } from "../graph/shape.ts";
import { overwritable, splitCommit } from "./commit.ts";
import { encodeExprs } from "./expr_code.ts";
import { fuse } from "./fuse.ts";
import {
  type Cluster,
  type Item,
  nodesOf,
  type Pool,
  readsOf,
  type RepeatNode,
  resolve,
  resultsOf,
  rootOf,
  valuesOf,
} from "./items.ts";
import { floatBits, type Lowered, type Window } from "./lir.ts";
import { as, emitNode, type Emitter } from "./lower_ops.ts";
import { type BlockState, LOOPS, noLoops, Storage } from "./storage.ts";

/** How to compile. */
export interface LowerOptions {
  /** Fuse element-wise neighbours (default true; off for tests). */
  readonly fuse?: boolean;
  /** Run element-wise groups as epilogues of products and convolutions (default true). */
  readonly epilogues?: boolean;
  /** Use Winograd for 3×3 convolutions (default true). */
  readonly winograd?: boolean;
  /** The processor multiplies tiles of bfloat16: small transformed weights are kept as three of them (default false). */
  readonly tiles?: boolean;
}

class Lowering extends Storage implements Emitter {
  readonly winograd: boolean;
  readonly tiles: boolean;
  readonly #options: LowerOptions;

  constructor(options: LowerOptions) {
    super();
    this.#options = options;
    this.winograd = options.winograd ?? true;
    this.tiles = options.tiles ?? false;
  }

  /** Expressions of a cluster's outputs over its external operands. */
  code(cluster: Cluster, first: readonly Value[] = []): { operands: Value[]; exprs: Expr[] } {
    const operands = [...first];
    const place = new Map<Value, number>(first.map((v, i) => [v, i]));
    const inside = new Map<Value, Expr>();
    for (const node of cluster.nodes) {
      const expr = substitute(node.attrs.expr, (i) => {
        const v = resolve(node.inputs[i]!);
        const known = inside.get(v);
        if (known) return known;
        let at = place.get(v);
        if (at === undefined) {
          at = operands.push(v) - 1;
          place.set(v, at);
        }
        return input(at);
      });
      inside.set(node.outputs[0]!, expr);
    }
    return { operands, exprs: cluster.outputs.map((v) => inside.get(v)!) };
  }

  /**
   * The operands' windows in the shape in which all of them are windows: that of the maps, or the one that an operand had before a
   * reshape which its strides cannot follow (an upsampled image, say). Undefined: one must be copied first.
   */
  #inOneShape(operands: readonly Value[]): { shape: Shape; inputs: Window[] } | undefined {
    for (const v of operands) {
      const { node } = v;
      if (node.op !== "view" || !isDense(node.attrs.layout) || this.windows.has(v)) continue;
      const before = node.inputs[0]!;
      const { shape } = before;
      if (numel(shape) !== numel(v.shape) || composeLayouts(this.windowOf(before).layout, node.attrs.layout)) continue;
      const inputs = operands.map((x) => {
        const same = x.node.op === "view" && x.node.inputs[0] === before && x.node.attrs === node.attrs;
        return as(this.windowOf(same ? before : x), shape);
      });
      return inputs.every((w) => w !== undefined) ? { shape, inputs } : undefined;
    }
    return undefined;
  }

  #emitMap(cluster: Cluster): void {
    const { operands, exprs } = this.code(cluster);
    const other = this.#inOneShape(operands);
    const inputs = other?.inputs ?? operands.map((v) => this.windowOf(v));
    const outputs = cluster.outputs.map((v) => {
      if (!other) return this.result(v, () => true);
      return as(this.result(v, (l) => composeLayouts(l, wholeLayout(other.shape)) !== undefined), other.shape)!;
    });
    this.push(
      "map",
      cluster.nodes[cluster.nodes.length - 1]!.scope,
      inputs,
      outputs,
      encodeExprs(exprs, inputs.length),
    );
    this.settle(cluster.outputs);
  }

  #emitReduce(item: Extract<Item, { kind: "reduce" }>): void {
    const { node, prologue } = item;
    const v = resolve(node.inputs[0]!);
    const { operands, exprs } = prologue ? this.code(prologue) : { operands: [v], exprs: [input(0)] };
    const inputs = operands.map((x) => this.windowOf(x));
    const [out] = node.outputs as [Value];
    const mask = node.attrs.axes.reduce((m, k) => m | (1 << k), 0);
    const output = this.result(out, () => true);
    this.push("reduce", node.scope, inputs, [output], [
      node.attrs.kind === "sum" ? 0 : 1,
      mask,
      floatBits(1),
      ...encodeExprs(exprs, inputs.length),
    ]);
    this.settle([out]);
  }

  #emitAssemble(v: Value): void {
    const { node } = v;
    if (node.op !== "assemble") return;
    let target = this.windows.get(v);
    if (!target) {
      target = this.result(v, isDense);
      const covered = node.attrs.parts.reduce((n, p) => n + numel(p.shape), 0);
      if (covered < numel(v.shape)) {
        this.push("map", node.scope, [], [target], encodeExprs([constant(0)], 0));
      }
    }
    node.attrs.parts.forEach((part, i) => {
      const from = this.windowOf(node.inputs[i]!);
      const to = this.part(target!, part);
      const aimed = this.targets.get(resolve(node.inputs[i]!));
      if (aimed?.buffer !== to.buffer) this.copy(from, to);
    });
    this.settle([v]);
  }

  /** Lets parts of fully covered assemblies be written in place by whoever makes them. */
  #aimAssemblies(items: readonly Item[]): void {
    const made = new Set<Value>();
    const readers = new Map<Value, number>();
    for (const item of items) {
      for (const v of valuesOf(item)) made.add(v);
      for (const node of nodesOf(item)) for (const v of readsOf(node)) readers.set(v, (readers.get(v) ?? 0) + 1);
    }
    for (const item of [...items].reverse()) {
      if (item.kind !== "node" || item.node.op !== "assemble") continue;
      const { parts, shape } = item.node.attrs;
      if (parts.reduce((n, p) => n + numel(p.shape), 0) < numel(shape)) continue;
      const [v] = item.node.outputs as [Value];
      const own = item.node.inputs.map(resolve).map((x) =>
        made.has(x) && readers.get(x) === 1 && !this.targets.has(x) && x.node.op !== "repeat"
      );
      if (!own.some(Boolean)) continue;
      const target = this.result(v, isDense);
      this.depths.set(v, this.blocks.length - 1);
      parts.forEach((part, i) => {
        if (own[i]) this.targets.set(resolve(item.node.inputs[i]!), this.part(target, part));
      });
    }
  }

  lowerItems(items: readonly Item[]): void {
    this.#aimAssemblies(items);
    for (const item of items) this.#lowerItem(item);
  }

  #lowerItem(item: Item): void {
    switch (item.kind) {
      case "map":
        return this.#once(item.cluster, [], (cluster) => this.#emitMap(cluster));
      case "reduce":
        return this.#emitReduce(item);
      case "repeat":
        return this.#emitRepeat(item.node, item.body);
      case "node":
        if (item.node.op === "assemble") return this.#emitAssemble(item.node.outputs[0]!);
        return item.epilogue
          ? this.#once(item.epilogue, item.pools ?? [], (c) => this.#emitNode(item.node, c, item.pools ?? []))
          : this.#emitNode(item.node, undefined, []);
    }
  }

  /**
   * Emits a cluster without results that it makes already: what a gradient would make again may have ended up beside what it is a copy of.
   * Results that are pooled, or wanted somewhere, are made all the same.
   */
  #once(cluster: Cluster, pools: readonly Pool[], emit: (cluster: Cluster) => void): void {
    if (cluster.outputs.length === 1) return emit(cluster);
    const { exprs } = this.code(cluster);
    const made = new Map<Expr, Value>();
    const copies = new Map<Value, Value>();
    cluster.outputs.forEach((v, i) => {
      if (this.targets.has(v) || pools.some((pool) => pool.from === v)) return;
      const original = made.get(exprs[i]!);
      if (original) copies.set(v, original);
      else made.set(exprs[i]!, v);
    });
    emit({ ...cluster, outputs: cluster.outputs.filter((v) => !copies.has(v)) });
    for (const [v, original] of copies) {
      this.windows.set(v, this.windows.get(original)!);
      this.depths.set(v, this.depths.get(original)!);
    }
  }

  /** The node with as much of what follows it as its kernel takes; the rest as instructions of their own. */
  #emitNode(node: Node, epilogue: Cluster | undefined, pools: readonly Pool[]): void {
    if (pools.length > 0) {
      if (emitNode(this, node, epilogue, pools)) return this.settle(resultsOf(epilogue!, pools));
      this.#emitNode(node, epilogue, []);
      for (const pool of pools) this.#emitReduce({ kind: "reduce", node: pool.node, prologue: undefined });
    } else if (emitNode(this, node, epilogue)) {
      this.settle(epilogue?.outputs ?? node.outputs);
    } else {
      emitNode(this, node, undefined);
      this.settle(node.outputs);
      this.#emitMap(epilogue!);
    }
  }

  // ---- loops

  #emitRepeat(node: RepeatNode, items: readonly Item[]): void {
    const { region, count, carried, reversed } = node.attrs;
    const level = this.blocks.length - 1;
    if (level >= LOOPS) throw new ShapeError(`repeat: expected at most ${LOOPS} nested loops, found more`);
    const step = (stride: number): number[] => noLoops.map((s, k) => (k === level ? stride : s));
    const now = node.inputs.slice(0, carried).map((v) => {
      const w = this.alloc(v.shape);
      this.copy(this.windowOf(v), w);
      return w;
    });
    const slices = node.inputs.slice(carried).map((v) => {
      const w = this.windowOf(v);
      const { offset, shape, strides } = w.layout;
      const loops = w.loops.map((s, k) => s + step(strides[0]!)[k]!);
      return { buffer: w.buffer, layout: { offset, shape: shape.slice(1), strides: strides.slice(1) }, loops };
    });
    const stacks = node.outputs.slice(carried).map((v) => this.alloc(v.shape));
    const block: BlockState = { instrs: [], copies: new Map(), hoisted: new Map() };
    this.blocks.push(block);
    region.params.forEach((p, i) => {
      this.windows.set(p, [...now, ...slices][i]!);
      this.depths.set(p, level + 1);
    });
    const made = new Set(items.flatMap(valuesOf));
    const results = region.results.map(resolve);
    const late: (() => void)[] = [];
    results.slice(carried).forEach((v, i) => {
      const w = stacks[i]!;
      const slot: Window = { buffer: w.buffer, layout: wholeLayout(v.shape), loops: step(numel(v.shape)) };
      if (made.has(v) && !this.targets.has(v) && v.node.op !== "repeat") this.targets.set(v, slot);
      else if (v.node.op === "param") this.copy(this.windowOf(v), slot); // before the body can overwrite it
      else late.push(() => this.copy(this.windowOf(v), slot));
    });
    // A tensor that another result hands on is read once more, after the body; what is stacked whole was copied in front of it.
    const handedOn = (p: Value): boolean => results.some((r, i) => rootOf(r) === p && (i < carried || r !== p));
    results.slice(0, carried).forEach((v, i) => {
      const param = region.params[i]!;
      if (made.has(v) && !this.targets.has(v) && !handedOn(param) && overwritable(param, v, items)) {
        this.targets.set(v, now[i]!);
      }
    });
    this.lowerItems(items);
    for (const copy of late) copy();
    const moves = results.slice(0, carried).flatMap((v, i) => {
      const from = this.windowOf(v), to = now[i]!;
      return from.buffer === to.buffer ? [] : [{ from, to }];
    });
    const sources = moves.map(({ from }) => {
      if (!now.some((w) => w.buffer === from.buffer)) return from;
      const held = this.alloc(from.layout.shape);
      this.copy(from, held);
      return held;
    });
    moves.forEach(({ to }, i) => this.copy(sources[i]!, to));
    this.blocks.pop();
    this.push("repeat", node.scope, [], [], [count, level, block.instrs.length, reversed ? 1 : 0], block.instrs.length);
    this.blocks[this.blocks.length - 1]!.instrs.push(...block.instrs);
    node.outputs.forEach((v, i) => {
      this.windows.set(v, i < carried ? now[i]! : stacks[i - carried]!);
      this.depths.set(v, level);
    });
    this.settle(node.outputs);
  }

  // ---- the whole

  lower(g: Graph): Lowered {
    const block: BlockState = { instrs: [], copies: new Map(), hoisted: new Map() };
    this.blocks.push(block);
    const items = fuse(g, { maps: this.#options.fuse ?? true, epilogues: this.#options.epilogues ?? true });
    const assigns = g.results.flatMap((r) => (r.kind === "assign" ? [{ name: r.name, value: resolve(r.value) }] : []));
    const fetches = g.results.flatMap((r) => (r.kind === "fetch" ? [{ name: r.name, value: resolve(r.value) }] : []));
    const states = new Map<string, Value>(
      g.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, n.outputs[0]!] as const] : [])),
    );
    const { early, commit, inPlace } = splitCommit(items, assigns, states);
    const target = new Map(fetches.map(({ name, value }) => {
      const buffer = this.buffer("fetch", numel(value.shape), { name, shape: value.shape, dtype: value.dtype });
      return [name, this.whole(buffer, value.shape)] as const;
    }));
    const made = new Set(early.flatMap(valuesOf));
    for (const { name, value } of fetches) {
      if (made.has(value) && !this.targets.has(value) && value.node.op !== "repeat") {
        this.targets.set(value, target.get(name)!);
      }
    }
    this.lowerItems(early);
    const deliver = (now: boolean): void => {
      for (const { name, value } of fetches) {
        const to = target.get(name)!;
        if (
          now === !commit.some((item) => valuesOf(item).includes(rootOf(value))) &&
          this.windowOf(value).buffer !== to.buffer
        ) this.copy(this.windowOf(value), to);
      }
    };
    deliver(true);
    const stateWindow = (name: string, shape: Shape): Window => {
      const v = states.get(name);
      if (v) return this.windowOf(v);
      const buffer = this.buffers.find((b) => b.kind === "state" && b.name === name) ??
        this.buffer("state", numel(shape), { name, shape });
      return this.whole(buffer, shape);
    };
    // Values that are old states themselves are set aside before anything is overwritten.
    const aside = new Map<string, Window>();
    for (const { name, value } of assigns) {
      if (inPlace.has(name)) this.targets.set(value, stateWindow(name, value.shape));
      else if (rootOf(value).node.op === "state" && resolve(value) !== states.get(name)) {
        const held = this.alloc(value.shape);
        this.copy(this.windowOf(value), held);
        aside.set(name, held);
      }
    }
    const start = block.instrs.length;
    this.lowerItems(commit);
    for (const { name, value } of assigns) {
      if (inPlace.has(name) || value === states.get(name)) continue;
      this.copy(aside.get(name) ?? this.windowOf(value), stateWindow(name, value.shape));
    }
    deliver(false);
    return { buffers: this.buffers, instrs: block.instrs, commit: assigns.length > 0 ? start : block.instrs.length };
  }
}

/** Lowers a graph. Throws ShapeError on what cannot be lowered. */
export function lower(g: Graph, options: LowerOptions = {}): Lowered {
  return new Lowering(options).lower(g);
}
