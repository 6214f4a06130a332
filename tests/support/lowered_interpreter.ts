// Runs lowered instructions in float64 over one real arena, so that fusing, lowering and memory planning are tested without the native code, and
// far more sharply than float32 allows. Memory that nothing has written is NaN.

import { assert } from "@std/assert";
import type { Arena } from "../../src/compile/arena.ts";
import type { Buffer, Instr, Lowered, Window } from "../../src/compile/lir.ts";
import { EXPR_CODES, type ProgramOp } from "../../src/compile/opcodes.ts";
import { EXPR_OPS, type ExprOp } from "../../src/graph/expr.ts";
import type { Graph, Node } from "../../src/graph/graph.ts";
import { sameShape, type Shape } from "../../src/graph/shape.ts";
import { normals, streamHash, uniforms } from "../../src/random.ts";
import type { Bindings, Interpreted, Numbers } from "./interpreter.ts";
import {
  attention,
  type AttentionCase,
  attentionGrad,
  dropoutFactors,
  keptWeights,
  maskOf,
} from "./reference/attention.ts";
import { layoutIndices, reduceAxes } from "./reference/expression.ts";
import { conv, convDataGrad, convWeightGrad, invert, matmul } from "./reference/linear.ts";
import { mixture, type MixtureCase, mixtureGrad, mixtureInverse } from "./reference/mixture.ts";
import { layerNorm, layerNormGrad } from "./reference/norm.ts";

type Arrays = readonly Float64Array[];

const bits = new DataView(new ArrayBuffer(4));
function floatOf(word: number): number {
  bits.setUint32(0, word);
  return bits.getFloat32(0);
}

const EXPR_NAMES = new Map<number, ExprOp>(
  (Object.entries(EXPR_CODES) as [ExprOp, number][]).map(([op, code]) => [code, op]),
);

/** Runs map's words: [nConst, const bits…, nInstr, (op, a, b, c)…, result id per output]. */
function runWords(words: readonly number[], inputs: Arrays, n: number, results: number): Float64Array[] {
  let at = 0;
  const take = (): number => words[at++]!;
  const values: Float64Array[] = [...inputs];
  for (let k = take(); k > 0; k--) values.push(new Float64Array(n).fill(floatOf(take())));
  for (let k = take(); k > 0; k--) {
    const op = EXPR_NAMES.get(take())!;
    const args = [take(), take(), take()].slice(0, EXPR_OPS[op].arity).map((id) => values[id]!);
    const value = EXPR_OPS[op].value as (...v: number[]) => number;
    values.push(Float64Array.from({ length: n }, (_, i) => value(...args.map((a) => a[i]!))));
  }
  const out = Array.from({ length: results }, () => values[take()]!);
  assert(at === words.length, `expected ${at} words, found ${words.length}`);
  return out;
}

/** The elements that a window stands for now. */
interface Placed {
  readonly data: Float64Array;
  readonly indices: Int32Array;
}

function plusBias(result: Float64Array, bias: Float64Array | undefined): Float64Array {
  return bias ? result.map((v, i) => v + bias[i % bias.length]!) : result;
}

class Machine {
  readonly #memory = new Map<Buffer, { data: Float64Array; base: number }>();
  readonly #streams: ReadonlyMap<number, string>;
  #loops: number[] = [];

  constructor(lowered: Lowered, arena: Arena, bindings: Bindings, streams: ReadonlyMap<number, string>) {
    this.#streams = streams;
    const shared = new Float64Array(arena.elements).fill(NaN);
    const given = (kind: "feeds" | "states", name: string): Numbers | undefined => {
      const table = bindings[kind] ?? {};
      return table instanceof Map ? table.get(name) : (table as Readonly<Record<string, Numbers>>)[name];
    };
    for (const b of lowered.buffers) {
      if (b.kind === "arena") {
        const base = arena.offsets.get(b);
        if (base !== undefined) this.#memory.set(b, { data: shared, base });
        continue;
      }
      const found = b.kind === "feed" ? given("feeds", b.name) : b.kind === "state" ? given("states", b.name) : b.data;
      const data = found ? Float64Array.from(found) : new Float64Array(b.size).fill(NaN);
      assert(data.length === b.size, `expected ${b.size} elements of ${b.kind} "${b.name}", found ${data.length}`);
      this.#memory.set(b, { data, base: 0 });
    }
  }

  data(b: Buffer): Float64Array {
    return this.#memory.get(b)!.data;
  }

  #place(w: Window): Placed {
    const { data, base } = this.#memory.get(w.buffer)!;
    const moved = w.loops.reduce((sum, stride, k) => sum + stride * (this.#loops[k] ?? 0), base + w.layout.offset);
    const indices = layoutIndices({ ...w.layout, offset: moved });
    for (const i of indices) {
      assert(i >= base && i < base + w.buffer.size, `expected an element of ${w.buffer.kind} buffer ${w.buffer.id}`);
    }
    return { data, indices };
  }

  run(instrs: readonly Instr[], from = 0, to = instrs.length): void {
    for (let i = from; i < to; i++) {
      const instr = instrs[i]!;
      if (instr.op !== "repeat") {
        this.#step(instr);
        continue;
      }
      const [count, level, body, reversed] = instr.attrs as [number, number, number, number | undefined];
      assert(level === this.#loops.length, `expected nesting level ${this.#loops.length}, found ${level}`);
      for (let t = 0; t < count; t++) {
        this.#loops.push(reversed ? count - 1 - t : t);
        this.run(instrs, i + 1, i + 1 + body);
        this.#loops.pop();
      }
      i += body;
    }
  }

  #step(instr: Instr): void {
    const inputs = instr.inputs.map((w) => this.#place(w));
    const outputs = instr.outputs.map((w) => this.#place(w));
    this.#checkAliasing(instr, inputs, outputs);
    const read = inputs.map(({ data, indices }) => Float64Array.from(indices, (i) => data[i]!));
    const results = this.#kernel(instr, read);
    assert(
      results.length === outputs.length,
      `expected ${outputs.length} results of ${instr.op}, found ${results.length}`,
    );
    outputs.forEach(({ data, indices }, k) => {
      assert(
        results[k]!.length === indices.length,
        `expected ${indices.length} elements of ${instr.op}, found ${results[k]!.length}`,
      );
      indices.forEach((at, i) => {
        data[at] = results[k]![i]!;
      });
    });
  }

  /** Kernels read and write tile by tile: an output may lie on an operand only element on element, and only where the op is element-wise. */
  #checkAliasing(
    instr: Instr,
    inputs: readonly Placed[],
    outputs: readonly Placed[],
  ): void {
    const main: Partial<Record<ProgramOp, number>> = { matmul: 2, conv: 2, conv_data_grad: 2, map: 0 };
    outputs.forEach((out, k) => {
      const own = new Set(out.indices);
      assert(own.size === out.indices.length, `${instr.op}: expected each element written once`);
      inputs.forEach((input, j) => {
        if (input.data !== out.data || !input.indices.some((i) => own.has(i))) return;
        const same = input.indices.length === out.indices.length && input.indices.every((i, e) => i === out.indices[e]);
        assert(
          same && j >= (main[instr.op] ?? Infinity),
          `${instr.op}: expected result ${k} not to lie across operand ${j}`,
        );
      });
      outputs.slice(k + 1).forEach((other) => {
        assert(
          other.data !== out.data || !other.indices.some((i) => own.has(i)),
          `${instr.op}: expected results apart from each other`,
        );
      });
    });
  }

  #epilogue(
    result: Float64Array,
    shape: Shape,
    words: readonly number[],
    instr: Instr,
    rest: Arrays,
    from: number,
    pooled = 0,
  ): Float64Array[] {
    const [n, h, w, c] = shape as [number, number, number, number];
    const wanted = (k: number): Shape => ((pooled >> k) & 1 ? [n, h / 2, w / 2, c] : shape);
    instr.inputs.slice(from).forEach((operand) =>
      assert(sameShape(operand.layout.shape, shape), `${instr.op}: expected epilogue operands of ${shape}`)
    );
    instr.outputs.forEach((output, k) =>
      assert(sameShape(output.layout.shape, wanted(k)), `${instr.op}: expected result ${k} of ${wanted(k)}`)
    );
    if (words.length === 0) return [result];
    return runWords(words, [result, ...rest], result.length, instr.outputs.length).map((v, k) =>
      (pooled >> k) & 1 ? reduceAxes("sum", v, [n, h / 2, 2, w / 2, 2, c], [2, 4]) : v
    );
  }

  #draw(kind: number, hash: number, loop: number, key: Float64Array, rows: number, size: number): Float64Array {
    const stream = this.#streams.get(hash);
    assert(stream !== undefined, "expected a stream of the graph");
    const [seed, iteration, first] = key as unknown as [number, number, number];
    const draw = kind === 0 ? uniforms : normals;
    const out = new Float64Array(rows * size);
    const at = loop === 0 ? 0 : this.#loops[loop - 1]!;
    for (let n = 0; n < rows; n++) {
      out.set(draw(seed, stream, size, { sample: (first + n) >>> 0, iteration, loop: at }), n * size);
    }
    return out;
  }

  #attention(instr: Instr, x: Arrays): Float64Array[] {
    const [images, length, wide] = instr.inputs[0]!.layout.shape as [number, number, number];
    const [heads, p, hash, loop] = [instr.attrs[0]!, floatOf(instr.attrs[1]!), instr.attrs[2]!, instr.attrs[3]!];
    const plain: AttentionCase = { images, length, width: wide / 3, heads, mask: () => undefined };
    if (p === 0) return attention(x[0]!, plain);
    const size = heads * length * length;
    const [seed, iteration, first] = x[1] as unknown as [number, number, number];
    const masked = {
      ...plain,
      mask: (n: number) =>
        dropoutFactors(seed, hash, size, p, {
          sample: (first + n) >>> 0,
          iteration,
          loop: loop === 0 ? 0 : this.#loops[loop - 1]!,
        }),
    };
    return [...attention(x[0]!, masked), keptWeights(masked)];
  }

  #attentionGrad(instr: Instr, [kvq, _out, _lse, dout, kept]: Arrays): Float64Array[] {
    const [images, length, wide] = instr.inputs[0]!.layout.shape as [number, number, number];
    const heads = instr.attrs[0]!;
    const mask = kept ? maskOf(kept, heads, length, floatOf(instr.attrs[1]!)) : () => undefined;
    return [attentionGrad(kvq!, dout!, { images, length, width: wide / 3, heads, mask })];
  }

  #kernel(instr: Instr, x: Arrays): Arrays {
    const { attrs, inputs, outputs } = instr;
    const shape = (k: number): Shape => inputs[k]!.layout.shape;
    const out = outputs[0]?.layout.shape ?? [];
    const size = out.reduce((n, d) => n * d, 1);
    const mixtureCase = (): MixtureCase => {
      const [images, positions, channels] = shape(0) as [number, number, number];
      return { images, positions, channels, components: attrs[0]! };
    };
    switch (instr.op) {
      case "map":
        for (const w of [...inputs, ...outputs]) {
          assert(sameShape(w.layout.shape, out), "map: expected operands of one shape");
        }
        return runWords(attrs, x, size, outputs.length);
      case "reduce": {
        const axes = shape(0).flatMap((_, k) => ((attrs[1]! >> k) & 1 ? [k] : []));
        const n = shape(0).reduce((a, d) => a * d, 1);
        const [mapped] = runWords(attrs.slice(3), x, n, 1);
        return [reduceAxes(attrs[0] === 0 ? "sum" : "max", mapped!, shape(0), axes).map((v) => v * floatOf(attrs[2]!))];
      }
      case "matmul":
        return this.#epilogue(
          plusBias(matmul(x[0]!, x[1]!, shape(0), shape(1)), attrs[0]! ? x[2] : undefined),
          [shape(0)[0]!, shape(0)[1]!, shape(1)[2]!],
          attrs.slice(1),
          instr,
          x.slice(2 + attrs[0]!),
          2 + attrs[0]!,
        );
      case "conv":
      case "conv_data_grad": {
        const [stride, padding, algo, o, i, kernel] = attrs as [number, number, number, number, number, number];
        const w = algo === 1 ? x[1]!.subarray(0, o * i * kernel * kernel) : x[1]!;
        const bias = attrs[7]! & 1, pooled = attrs[7]! >> 8;
        const whole = pooled & 1 ? [out[0]!, 2 * out[1]!, 2 * out[2]!, out[3]!] : out;
        const result = instr.op === "conv"
          ? conv(x[0]!, w, { x: shape(0), y: whole, kernel }, { stride, padding })
          : convDataGrad(x[0]!, w, { x: whole, y: shape(0), kernel }, { stride, padding });
        const from = 2 + bias;
        return this.#epilogue(
          plusBias(result, bias ? x[2] : undefined),
          whole,
          attrs.slice(8),
          instr,
          x.slice(from),
          from,
          pooled,
        );
      }
      case "conv_weight_grad":
        return [
          convWeightGrad(x[0]!, x[1]!, { x: shape(0), y: shape(1), kernel: attrs[5]! }, {
            stride: attrs[0]!,
            padding: attrs[1]!,
          }),
        ];
      case "winograd_weights": {
        // The transform is the kernels' own affair: carry the weights themselves.
        const u = new Float64Array(size);
        u.set(x[0]!);
        return [u];
      }
      case "random":
        return [this.#draw(attrs[0]!, attrs[1]!, attrs[2]!, x[0]!, out[0]!, size / out[0]!)];
      case "layer_norm":
        return [layerNorm(x[0]!, x[1]!, x[2]!, floatOf(attrs[0]!))];
      case "layer_norm_grad":
        return layerNormGrad(x[0]!, x[1]!, x[2]!, floatOf(attrs[0]!));
      case "attention":
        return this.#attention(instr, x);
      case "attention_grad":
        return this.#attentionGrad(instr, x);
      case "mixture":
        return mixture(x[0]!, x[1]!, x[2]!, mixtureCase());
      case "mixture_grad":
        return mixtureGrad([x[0]!, x[1]!, x[2]!, x[3]!, x[4]!], mixtureCase());
      case "mixture_inverse":
        return mixtureInverse(x[0]!, x[1]!, x[2]!, mixtureCase());
      case "matrix_inverse":
        return [invert(x[0]!, out[0]!).inverse];
      case "log_abs_det":
        return [Float64Array.of(invert(x[0]!, shape(0)[0]!).logAbsDet)];
      case "repeat":
        throw new Error("expected run to handle loops");
    }
  }
}

function streamsOf(nodes: readonly Node[], found: Map<number, string>): Map<number, string> {
  for (const node of nodes) {
    if ("stream" in node.attrs) found.set(streamHash(node.attrs.stream), node.attrs.stream);
    if (node.op === "repeat") streamsOf(node.attrs.region.nodes, found);
  }
  return found;
}

/** Runs what `graph` was lowered to: its fetches and the states as they are afterwards. */
export function runLowered(graph: Graph, lowered: Lowered, arena: Arena, bindings: Bindings): Interpreted {
  const machine = new Machine(lowered, arena, bindings, streamsOf(graph.nodes, new Map()));
  machine.run(lowered.instrs);
  const of = (kind: Buffer["kind"]): Record<string, Float64Array> =>
    Object.fromEntries(lowered.buffers.filter((b) => b.kind === kind).map((b) => [b.name, machine.data(b)]));
  return { fetches: of("fetch"), assigns: of("state") };
}
