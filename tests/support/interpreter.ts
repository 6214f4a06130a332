// The oracle: runs a graph in float64, one plain formula per op. Slow and obvious on purpose.

import { normals, streamHash, uniforms } from "../../src/random.ts";
import type { Graph, Node, Region, Value } from "../../src/graph/graph.ts";
import type { Attrs, Op } from "../../src/graph/attrs.ts";
import { numel, type Shape } from "../../src/graph/shape.ts";
import {
  attention,
  type AttentionCase,
  attentionGrad,
  dropoutFactors,
  keptWeights,
  maskOf,
} from "./reference/attention.ts";
import { evaluateMap, gather, reduceAxes, scatter } from "./reference/expression.ts";
import { conv, convDataGrad, convWeightGrad, invert, matmul } from "./reference/linear.ts";
import { mixture, type MixtureCase, mixtureGrad, mixtureInverse } from "./reference/mixture.ts";
import { layerNorm, layerNormGrad } from "./reference/norm.ts";

/** What a host may write to a tensor. */
export type Numbers = ArrayLike<number>;

/** The tensors that a run starts from, by name. */
export interface Bindings {
  readonly feeds?: Readonly<Record<string, Numbers>> | ReadonlyMap<string, Numbers>;
  readonly states?: Readonly<Record<string, Numbers>> | ReadonlyMap<string, Numbers>;
}

/** What a run delivers, by name. */
export interface Interpreted {
  readonly fetches: Readonly<Record<string, Float64Array>>;
  readonly assigns: Readonly<Record<string, Float64Array>>;
}

/** Values computed so far; a repeat's body has one of its own inside the outer one. */
class Frame {
  readonly #values = new Map<Value, Float64Array>();
  readonly #outer: Frame | undefined;
  readonly bindings: Bindings;
  /** Where each open repeat is, outermost first; reversed ones count down, so that a draw of slice t is the same either way. */
  readonly loops: readonly number[];

  constructor(bindings: Bindings, loops: readonly number[], outer?: Frame) {
    this.bindings = bindings;
    this.loops = loops;
    this.#outer = outer;
  }

  get(v: Value): Float64Array {
    const found = this.#values.get(v) ?? this.#outer?.get(v);
    if (!found) throw new Error(`interpreter: expected a value for %${v.id} of ${v.node.op}, found none`);
    return found;
  }

  set(v: Value, data: Float64Array): void {
    const size = numel(v.shape);
    if (data.length !== size) {
      throw new Error(`interpreter: expected ${size} elements from ${v.node.op}, found ${data.length}`);
    }
    this.#values.set(v, data);
  }
}

function bound(frame: Frame, kind: "feeds" | "states", name: string, shape: Shape): Float64Array {
  const table = frame.bindings[kind] ?? {};
  const data = table instanceof Map ? table.get(name) : (table as Readonly<Record<string, Numbers>>)[name];
  if (!data) throw new Error(`interpreter: expected ${kind} to have "${name}"`);
  if (data.length !== numel(shape)) {
    throw new Error(`interpreter: expected ${numel(shape)} elements for "${name}", found ${data.length}`);
  }
  return Float64Array.from(data);
}

function draws(
  kind: "uniform" | "normal",
  stream: string,
  key: Float64Array,
  row: number,
  n: number,
  loop: number,
): Float32Array {
  const [seed, iteration, first] = key as unknown as [number, number, number];
  const draw = kind === "uniform" ? uniforms : normals;
  return draw(seed, stream, n, { sample: (first + row) >>> 0, iteration, loop });
}

/** The counter word of a draw that belongs to loop level `loop` (1 = outermost, 0 = none). */
const loopIndex = (frame: Frame, loop: number): number => (loop === 0 ? 0 : frame.loops[loop - 1]!);

function attentionCase(heads: number, kvq: Value, mask: AttentionCase["mask"]): AttentionCase {
  const [images, length, wide] = kvq.shape as [number, number, number];
  return { images, length, width: wide / 3, heads, mask };
}

function runAttention(a: Attrs["attention"], kvq: Float64Array, key: Float64Array | undefined, x: Value, frame: Frame) {
  if (!key) return attention(kvq, attentionCase(a.heads, x, () => undefined));
  const p = Math.fround(a.dropout);
  const weights = a.heads * x.shape[1]! ** 2;
  const [seed, iteration, first] = key as unknown as [number, number, number];
  const loop = loopIndex(frame, a.loop);
  const masked = attentionCase(
    a.heads,
    x,
    (image) =>
      dropoutFactors(seed, streamHash(a.stream), weights, p, { sample: (first + image) >>> 0, iteration, loop }),
  );
  return [...attention(kvq, masked), keptWeights(masked)];
}

function mixtureCase(a: Attrs["mixture"], x: Value): MixtureCase {
  const [images, positions, channels] = x.shape as [number, number, number];
  return { images, positions, channels, components: a.components };
}

type Data = readonly Float64Array[];
type Kernel<K extends Op> = (a: Attrs[K], data: Data, node: Node, frame: Frame) => Data;

/** One formula per op. A missing entry does not compile. */
const KERNELS: { readonly [K in Op]: Kernel<K> } = {
  feed: (a, _, __, frame) => [bound(frame, "feeds", a.name, a.shape)],
  state: (a, _, __, frame) => [bound(frame, "states", a.name, a.shape)],
  param: () => {
    throw new Error("interpreter: expected the repeat to set its body's params");
  },
  constant: (a) => [Float64Array.from(a.data)],
  map: (a, data) => [evaluateMap(a.expr, data, numel(a.shape))],
  reduce: (a, [x], node) => [reduceAxes(a.kind, x!, node.inputs[0]!.shape, a.axes)],
  view: (a, [x]) => [gather(x!, a.layout)],
  assemble: (a, data) => {
    const out = new Float64Array(numel(a.shape));
    a.parts.forEach((part, i) => scatter(out, data[i]!, part));
    return [out];
  },
  matmul: (_, [a, b], node) => [matmul(a!, b!, node.inputs[0]!.shape, node.inputs[1]!.shape)],
  conv: (a, [x, w], { inputs, outputs }) => {
    return [conv(x!, w!, { x: inputs[0]!.shape, y: outputs[0]!.shape, kernel: inputs[1]!.shape[2]! }, a)];
  },
  conv_data_grad: (a, [dy, w], { inputs, outputs }) => {
    return [convDataGrad(dy!, w!, { x: outputs[0]!.shape, y: inputs[0]!.shape, kernel: inputs[1]!.shape[2]! }, a)];
  },
  conv_weight_grad: (a, [x, dy], { inputs }) => {
    return [convWeightGrad(x!, dy!, { x: inputs[0]!.shape, y: inputs[1]!.shape, kernel: a.kernel }, a)];
  },
  random: (a, [key], _, frame) => {
    const row = numel(a.shape.slice(1));
    const out = new Float64Array(numel(a.shape));
    const loop = loopIndex(frame, a.loop);
    for (let n = 0; n * row < out.length; n++) out.set(draws(a.kind, a.stream, key!, n, row, loop), n * row);
    return [out];
  },
  layer_norm: (a, [x, gain, bias]) => [layerNorm(x!, gain!, bias!, a.eps)],
  layer_norm_grad: (a, [x, gain, dy]) => layerNormGrad(x!, gain!, dy!, a.eps),
  attention: (a, [kvq, key], { inputs }, frame) => runAttention(a, kvq!, key, inputs[0]!, frame),
  attention_grad: (a, [kvq, _out, _lse, dout, kept], { inputs }) => {
    const x = inputs[0]!;
    const mask = kept ? maskOf(kept, a.heads, x.shape[1]!, Math.fround(a.dropout)) : () => undefined;
    return [attentionGrad(kvq!, dout!, attentionCase(a.heads, x, mask))];
  },
  mixture: (a, [x, p, rescale], { inputs }) => mixture(x!, p!, rescale!, mixtureCase(a, inputs[0]!)),
  mixture_grad: (a, [x, p, rescale, dy, dlogDet], { inputs }) => {
    return mixtureGrad([x!, p!, rescale!, dy!, dlogDet!], mixtureCase(a, inputs[0]!));
  },
  mixture_inverse: (a, [y, p, rescale], { inputs }) => mixtureInverse(y!, p!, rescale!, mixtureCase(a, inputs[0]!)),
  matrix_inverse: (_, [w], { inputs }) => [invert(w!, inputs[0]!.shape[0]!).inverse],
  log_abs_det: (_, [w], { inputs }) => [Float64Array.of(invert(w!, inputs[0]!.shape[0]!).logAbsDet)],
  stop_gradient: (_, [x]) => [x!],
  repeat: runRepeat,
};

function runRepeat(a: Attrs["repeat"], data: Data, node: Node, frame: Frame): Data {
  const { region, count, carried, reversed } = a;
  const wanted = new Set(region.results);
  const live = liveNodes(region.nodes, wanted);
  let current = data.slice(0, carried);
  const stacked = node.outputs.slice(carried).map((v) => new Float64Array(numel(v.shape)));
  for (let step = 0; step < count; step++) {
    const at = reversed ? count - 1 - step : step;
    const inner = new Frame(frame.bindings, [...frame.loops, at], frame);
    region.params.forEach((param, i) => {
      const size = numel(param.shape);
      inner.set(param, i < carried ? current[i]! : data[i]!.subarray(at * size, (at + 1) * size));
    });
    runNodes(live, inner);
    current = region.results.slice(0, carried).map((v) => inner.get(v));
    stacked.forEach((out, i) => {
      const part = inner.get(region.results[carried + i]!);
      out.set(part, at * part.length);
    });
  }
  return [...current, ...stacked];
}

/** The nodes that `wanted` needs, in order; adds what they need from outside to `wanted`. */
function liveNodes(nodes: readonly Node[], wanted: Set<Value>): Node[] {
  const live: Node[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((v) => wanted.has(v))) continue;
    live.push(node);
    node.inputs.forEach((v) => wanted.add(v));
    if (node.op === "repeat") needsOf(node.attrs.region).forEach((v) => wanted.add(v));
  }
  return live.reverse();
}

function needsOf(region: Region): Set<Value> {
  const wanted = new Set(region.results);
  liveNodes(region.nodes, wanted);
  return wanted;
}

function runNodes(nodes: readonly Node[], frame: Frame): void {
  for (const node of nodes) {
    if (node.op === "param") continue;
    const kernel = KERNELS[node.op] as Kernel<Op>;
    const results = kernel(node.attrs as never, node.inputs.map((v) => frame.get(v)), node, frame);
    node.outputs.forEach((v, i) => frame.set(v, results[i]!));
  }
}

/** Computes top-level values of `graph`, and nothing that they do not need. */
export function evaluateValues(graph: Graph, values: readonly Value[], bindings: Bindings): Float64Array[] {
  const frame = new Frame(bindings, []);
  runNodes(liveNodes(graph.nodes, new Set(values)), frame);
  return values.map((v) => frame.get(v));
}

/** Runs `graph`: its fetches and the next values of the states that it assigns. */
export function interpret(graph: Graph, bindings: Bindings): Interpreted {
  const data = evaluateValues(graph, graph.results.map((r) => r.value), bindings);
  const of = (kind: "fetch" | "assign"): Record<string, Float64Array> =>
    Object.fromEntries(graph.results.flatMap((r, i) => (r.kind === kind ? [[r.name, data[i]!]] : [])));
  return { fetches: of("fetch"), assigns: of("assign") };
}
