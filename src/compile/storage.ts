/** Buffers and windows: where values live, copies that readers need, and what is hoisted in front of loops. */
import { ShapeError } from "../errors.ts";
import { input } from "../graph/expr.ts";
import type { Value } from "../graph/graph.ts";
import { wholeLayout } from "../graph/ops.ts";
import { composeLayouts, type DType, isDense, type Layout, numel, type Shape } from "../graph/shape.ts";
import { encodeExprs } from "./expr_code.ts";
import { resolve } from "./items.ts";
import type { Buffer, Instr, Window } from "./lir.ts";
import type { ProgramOp } from "./opcodes.ts";

/** How deep repeats may nest. */
export const LOOPS = 3;
/** No movement in any loop. */
export const noLoops: readonly number[] = new Array<number>(LOOPS).fill(0);

/** Instructions of one block under construction. */
export interface BlockState {
  readonly instrs: Instr[];
  /** Windows made by copying, valid while this block runs. */
  readonly copies: Map<Value, Window>;
  /** What was hoisted in front of this block's loop. */
  readonly hoisted: Map<string, Window>;
}

/** Where every value lives while a graph is lowered, and the instructions so far. */
export class Storage {
  readonly buffers: Buffer[] = [];
  /** Open blocks, outermost first. */
  readonly blocks: BlockState[] = [];
  /** Windows of values that have been made. */
  readonly windows = new Map<Value, Window>();
  /** Depth of the block that made the value. */
  readonly depths = new Map<Value, number>();
  /** Where a value is wanted: a part of an assembly, a fetch, a state, a carried tensor. */
  readonly targets = new Map<Value, Window>();

  buffer(kind: Buffer["kind"], size: number, rest: Partial<Buffer> = {}): Buffer {
    const buffer: Buffer = { id: this.buffers.length, kind, dtype: "f32", size, name: "", shape: [], ...rest };
    this.buffers.push(buffer);
    return buffer;
  }

  whole(buffer: Buffer, shape: Shape): Window {
    return { buffer, layout: wholeLayout(shape), loops: noLoops };
  }

  alloc(shape: Shape, dtype: DType = "f32"): Window {
    return this.whole(this.buffer("arena", numel(shape), { dtype }), shape);
  }

  /** Depth of the block in which v gets its value. */
  depthOf(v: Value): number {
    const root = resolve(v);
    if (root.node.op === "view") return this.depthOf(root.node.inputs[0]!);
    return this.depths.get(root) ?? 0;
  }

  windowOf(value: Value): Window {
    const v = resolve(value);
    const known = this.windows.get(v);
    if (known) return known;
    for (const block of this.blocks) {
      const copy = block.copies.get(v);
      if (copy) return copy;
    }
    const { node } = v;
    switch (node.op) {
      case "feed":
      case "state": {
        const { name, shape } = node.attrs;
        return this.#leaf(v, this.buffer(node.op, numel(shape), { name, shape, dtype: v.dtype }));
      }
      case "constant":
        return this.#leaf(v, this.buffer("constant", node.attrs.data.length, { data: node.attrs.data }));
      case "view": {
        const [x] = node.inputs as [Value];
        const direct = composeLayouts(this.windowOf(x).layout, node.attrs.layout);
        const from = direct ? this.windowOf(x) : this.dense(x);
        const layout = direct ?? composeLayouts(from.layout, node.attrs.layout);
        if (!layout) {
          throw new ShapeError(
            `lower: expected a window of a dense tensor to be a window, found ${node.attrs.layout.shape}`,
          );
        }
        const window = { ...from, layout };
        this.blocks[this.depthOf(v)]!.copies.set(v, window);
        return window;
      }
      default:
        throw new ShapeError(`lower: expected a value before its use, found %${v.id} (${node.op}) unmade`);
    }
  }

  #leaf(v: Value, buffer: Buffer): Window {
    const window = this.whole(buffer, v.shape);
    this.windows.set(v, window);
    return window;
  }

  dense(v: Value): Window {
    const w = this.windowOf(v);
    if (isDense(w.layout)) return w;
    const key = `dense ${resolve(v).id}`;
    const make = (): Window => {
      const copy = this.alloc(v.shape);
      this.copy(w, copy);
      return copy;
    };
    return this.hoist(v, key, make, true);
  }

  /** Runs `make` in the block where v is defined, once per loop that needs it; with `keep` once per block even where there is no loop. */
  hoist(v: Value, key: string, make: () => Window, keep = false): Window {
    const depth = this.depthOf(v);
    const here = this.blocks.length - 1;
    // A copy at its own depth lives as long as its block; one hoisted out of a loop belongs to that loop.
    const memo = this.blocks[Math.min(depth + 1, here)]!.hoisted;
    const known = memo.get(key);
    if (known) return known;
    const inner = this.blocks.splice(depth + 1);
    const window = make();
    this.blocks.push(...inner);
    if (depth < here || keep) memo.set(key, window);
    return window;
  }

  // ---- instructions

  push(
    op: ProgramOp,
    name: string,
    inputs: readonly Window[],
    outputs: readonly Window[],
    attrs: readonly number[],
    body = 0,
  ): void {
    this.blocks[this.blocks.length - 1]!.instrs.push({ op, name, inputs, outputs, attrs, body });
  }

  copy(from: Window, to: Window): void {
    this.push("map", "", [from], [to], encodeExprs([input(0)], 1));
  }

  /** The window an op writes v to: where it is wanted if the op can write there, else a temporary that is copied afterwards. */
  result(v: Value, accepts: (layout: Layout) => boolean): Window {
    const target = this.targets.get(v);
    const window = target && accepts(target.layout) ? target : this.alloc(v.shape, v.dtype);
    this.windows.set(v, window);
    this.depths.set(v, this.blocks.length - 1);
    return window;
  }

  /** Brings values to where they are wanted, when their op could not write there. */
  settle(values: readonly Value[]): void {
    for (const v of values) {
      const target = this.targets.get(v);
      const window = this.windows.get(v);
      if (target && window && target !== window) this.copy(window, target);
    }
  }

  /** The window `part` of a window. */
  part(whole: Window, part: Layout): Window {
    const layout = composeLayouts(whole.layout, part);
    if (!layout) {
      throw new ShapeError(`lower: expected a part of a dense tensor, found ${part.shape} of ${whole.layout.shape}`);
    }
    return { ...whole, layout };
  }
}
