/** The op table: attributes, operand counts and shape rules of every graph operation. Gradient rules are in `autodiff/rules.ts`, encodings in `compile/`. */
import { ShapeError } from "../errors.ts";
import type { Attrs, ConvAttrs, Op } from "./attrs.ts";
import { formatExpr, inputsOf } from "./expr.ts";
import type { Value } from "./graph.ts";
import {
  checkShape,
  denseStrides,
  type DType,
  formatShape,
  furthest,
  type Layout,
  numel,
  sameShape,
  type Shape,
} from "./shape.ts";

interface OutSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
}

interface OpSpec<K extends Op> {
  /** Number of operands; undefined = the shape rule checks. */
  readonly arity?: number;
  /** Shapes of the results. Throws ShapeError. */
  readonly shapes: (attrs: Attrs[K], inputs: readonly Value[]) => readonly OutSpec[];
  /** Canonical text of the attributes: printing, and equality for common subexpressions. undefined = never shared. */
  readonly text: (attrs: Attrs[K]) => string;
}

function fail(op: Op, expected: string, inputs: readonly Value[]): never {
  throw new ShapeError(
    `${op}: expected ${expected}, found ${inputs.map((v) => formatShape(v.shape)).join(", ") || "nothing"}`,
  );
}

const formatLayout = (l: Layout): string => `${formatShape(l.shape)} @${l.offset} [${l.strides}]`;
const formatConv = (a: ConvAttrs): string => `stride ${a.stride} padding ${a.padding}`;

/** Whether a window never visits an element twice: each stride steps over all that the smaller ones reach. */
export function isInjective(layout: Layout): boolean {
  const dims = layout.shape.map((size, i) => ({ size, stride: layout.strides[i]! })).filter((d) => d.size > 1);
  dims.sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { size, stride } of dims) {
    if (stride <= reach) return false;
    reach += (size - 1) * stride;
  }
  return true;
}

function checkLayout(op: Op, layout: Layout, size: number): void {
  checkShape(layout.shape, op);
  if (layout.strides.length !== layout.shape.length || layout.strides.some((s) => !Number.isInteger(s) || s < 0)) {
    throw new ShapeError(`${op}: expected one non-negative stride per dimension, found ${formatLayout(layout)}`);
  }
  if (!Number.isInteger(layout.offset) || layout.offset < 0 || furthest(layout) >= size) {
    throw new ShapeError(`${op}: expected a window inside ${size} elements, found ${formatLayout(layout)}`);
  }
}

function convOutput(op: Op, x: Shape, w: Shape, a: ConvAttrs): number[] {
  const out = (n: number, k: number): number => Math.floor((n + 2 * a.padding - k) / a.stride) + 1;
  const shape = [x[0]!, out(x[1]!, w[2]!), out(x[2]!, w[3]!), w[0]!];
  checkShape(shape, op);
  return shape;
}

const isKey = (v: Value | undefined): boolean =>
  v !== undefined && v.dtype === "u32" && v.shape.length === 1 && v.shape[0] === 4;

/** Shapes of what attention makes of `inputs[0]`. */
function attentionShapes(op: Op, heads: number, inputs: readonly Value[]): { out: Shape; lse: Shape; kept: Shape } {
  const [n, length, width] = inputs[0]?.shape ?? [];
  if (inputs[0]?.shape.length !== 3 || width! % (3 * heads) !== 0) {
    fail(op, `[N, L, 3c] with c a multiple of ${heads} heads`, inputs);
  }
  return { out: [n!, length!, width! / 3], lse: [n!, heads, length!], kept: [n!, heads, Math.ceil(length! ** 2 / 32)] };
}

function mixtureShapes(op: Op, components: number, inputs: readonly Value[]): void {
  const [x, p, rescale] = inputs;
  const c = x?.shape[2];
  const ok = x?.shape.length === 3 && p?.shape.length === 3 && p.shape[0] === x.shape[0] && p.shape[1] === x.shape[1] &&
    p.shape[2] === c! * (2 + 3 * components) && rescale !== undefined && sameShape(rescale.shape, [c!]);
  if (!ok) fail(op, `x [N,P,C], p [N,P,C·(2+3·${components})], rescale [C]`, inputs);
}

function squareShape(op: Op, inputs: readonly Value[]): number {
  const [w] = inputs;
  if (w?.shape.length !== 2 || w.shape[0] !== w.shape[1]) fail(op, "a square matrix", inputs);
  return w.shape[0]!;
}

/** The table. A missing entry does not compile. */
export const OPS: { readonly [K in Op]: OpSpec<K> } = {
  feed: {
    arity: 0,
    shapes: (a) => [{ shape: a.shape, dtype: a.dtype }],
    text: (a) => `"${a.name}" ${a.dtype} ${formatShape(a.shape)}`,
  },
  state: { arity: 0, shapes: (a) => [{ shape: a.shape }], text: (a) => `"${a.name}" ${formatShape(a.shape)}` },
  param: { arity: 0, shapes: (a) => [{ shape: a.shape }], text: (a) => formatShape(a.shape) },
  constant: {
    arity: 0,
    shapes: (a) => {
      if (a.data.length !== numel(a.shape)) {
        throw new ShapeError(
          `constant: expected ${numel(a.shape)} values for ${formatShape(a.shape)}, found ${a.data.length}`,
        );
      }
      return [{ shape: a.shape }];
    },
    text: (a) => `${a.key} ${formatShape(a.shape)}`,
  },
  map: {
    shapes: (a, inputs) => {
      if (inputs.some((v) => !sameShape(v.shape, a.shape) || v.dtype !== "f32")) {
        fail("map", `float32 operands of ${formatShape(a.shape)}`, inputs);
      }
      const last = inputsOf(a.expr).at(-1) ?? -1;
      if (last >= inputs.length) {
        throw new ShapeError(`map: expected an operand for x${last}, found ${inputs.length} operands`);
      }
      return [{ shape: a.shape }];
    },
    text: (a) => `${formatShape(a.shape)} ${a.expr.id} ${a.expr.kind === "const" ? a.expr.value : ""}`,
  },
  reduce: {
    arity: 1,
    shapes: (a, [x]) => {
      if (a.axes.some((k) => !Number.isInteger(k) || k < 0 || k >= x!.shape.length)) {
        fail("reduce", `axes inside the rank, not [${a.axes}]`, [x!]);
      }
      return [{ shape: x!.shape.map((d, i) => (a.axes.includes(i) ? 1 : d)) }];
    },
    text: (a) => `${a.kind} [${a.axes}]`,
  },
  view: {
    arity: 1,
    shapes: (a, [x]) => {
      checkLayout("view", a.layout, numel(x!.shape));
      return [{ shape: a.layout.shape, dtype: x!.dtype }];
    },
    text: (a) => formatLayout(a.layout),
  },
  assemble: {
    shapes: (a, inputs) => {
      checkShape(a.shape, "assemble");
      if (inputs.length !== a.parts.length || inputs.length === 0) {
        fail("assemble", `${a.parts.length} operands, one per window`, inputs);
      }
      a.parts.forEach((part, i) => {
        checkLayout("assemble", part, numel(a.shape));
        if (!sameShape(part.shape, inputs[i]!.shape)) {
          fail("assemble", `windows of the operands' shapes (window ${i}: ${formatLayout(part)})`, inputs);
        }
        if (!isInjective(part)) {
          throw new ShapeError(
            `assemble: expected a window that writes each element once, found ${formatLayout(part)}`,
          );
        }
      });
      return [{ shape: a.shape }];
    },
    text: (a) => `${formatShape(a.shape)} ${a.parts.map(formatLayout).join("; ")}`,
  },
  matmul: {
    arity: 2,
    shapes: (_, inputs) => {
      const [a, b] = inputs as [Value, Value];
      if (a.shape.length !== 3 || b.shape.length !== 3 || a.shape[0] !== b.shape[0] || a.shape[2] !== b.shape[1]) {
        fail("matmul", "[b,m,k] and [b,k,n]", inputs);
      }
      return [{ shape: [a.shape[0]!, a.shape[1]!, b.shape[2]!] }];
    },
    text: () => "",
  },
  conv: {
    arity: 2,
    shapes: (a, inputs) => {
      const [x, w] = inputs as [Value, Value];
      if (x.shape.length !== 4 || w.shape.length !== 4 || x.shape[3] !== w.shape[1] || w.shape[2] !== w.shape[3]) {
        fail("conv", "x [N,H,W,I] and w [O,I,k,k]", inputs);
      }
      return [{ shape: convOutput("conv", x.shape, w.shape, a) }];
    },
    text: formatConv,
  },
  conv_data_grad: {
    arity: 2,
    shapes: (a, inputs) => {
      const [dy, w] = inputs as [Value, Value];
      const shape = [dy.shape[0]!, a.height, a.width, w.shape[1]!];
      if (dy.shape.length !== 4 || !sameShape(convOutput("conv_data_grad", shape, w.shape, a), dy.shape)) {
        fail("conv_data_grad", `the gradient of a convolution of ${a.height}x${a.width} images`, inputs);
      }
      return [{ shape }];
    },
    text: (a) => `${formatConv(a)} to ${a.height}x${a.width}`,
  },
  conv_weight_grad: {
    arity: 2,
    shapes: (a, inputs) => {
      const [x, dy] = inputs as [Value, Value];
      const shape = [dy.shape[3]!, x.shape[3]!, a.kernel, a.kernel];
      if (
        x.shape.length !== 4 || dy.shape.length !== 4 ||
        !sameShape(convOutput("conv_weight_grad", x.shape, shape, a), dy.shape)
      ) {
        fail("conv_weight_grad", `x and the gradient of its ${a.kernel}x${a.kernel} convolution`, inputs);
      }
      return [{ shape }];
    },
    text: (a) => `${formatConv(a)} kernel ${a.kernel}`,
  },
  random: {
    arity: 1,
    shapes: (a, inputs) => {
      if (!isKey(inputs[0])) fail("random", "a u32[4] key (seed, iteration, first sample, 0)", inputs);
      checkShape(a.shape, "random");
      return [{ shape: a.shape }];
    },
    text: (a) => `${a.kind} "${a.stream}" ${formatShape(a.shape)} loop ${a.loop}`,
  },
  layer_norm: {
    arity: 3,
    shapes: (_, inputs) => {
      const [x, gain, bias] = inputs as [Value, Value, Value];
      const c = [x.shape.at(-1)!];
      if (x.shape.length === 0 || !sameShape(gain.shape, c) || !sameShape(bias.shape, c)) {
        fail("layer_norm", "x […, C], gain [C], bias [C]", inputs);
      }
      return [{ shape: x.shape }];
    },
    text: (a) => `eps ${a.eps}`,
  },
  layer_norm_grad: {
    arity: 3,
    shapes: (_, inputs) => {
      const [x, gain, dy] = inputs as [Value, Value, Value];
      if (!sameShape(x.shape, dy.shape) || !sameShape(gain.shape, [x.shape.at(-1)!])) {
        fail("layer_norm_grad", "x […, C], gain [C], dy like x", inputs);
      }
      return [{ shape: x.shape }, { shape: gain.shape }, { shape: gain.shape }];
    },
    text: (a) => `eps ${a.eps}`,
  },
  attention: {
    shapes: (a, inputs) => {
      const { out, lse, kept } = attentionShapes("attention", a.heads, inputs);
      const fits = a.dropout > 0 ? inputs.length === 2 && isKey(inputs[1]) : inputs.length === 1;
      if (!fits) fail("attention", "a u32[4] key exactly when dropout > 0", inputs);
      return [{ shape: out }, { shape: lse }, ...(a.dropout > 0 ? [{ shape: kept, dtype: "u32" as const }] : [])];
    },
    text: (a) => `heads ${a.heads} dropout ${a.dropout} "${a.stream}" loop ${a.loop}`,
  },
  attention_grad: {
    shapes: (a, inputs) => {
      const { out, lse, kept } = attentionShapes("attention_grad", a.heads, inputs);
      const expected = [inputs[0]!.shape, out, lse, out, ...(a.dropout > 0 ? [kept] : [])];
      const fits = inputs.length === expected.length &&
        expected.every((shape, i) => sameShape(shape, inputs[i]!.shape));
      if (!fits || (inputs[4] ?? { dtype: "u32" }).dtype !== "u32") {
        fail("attention_grad", "kvq, out, log-sum-exp, dout, and the kept weights exactly when dropout > 0", inputs);
      }
      return [{ shape: inputs[0]!.shape }];
    },
    text: (a) => `heads ${a.heads} dropout ${a.dropout}`,
  },
  mixture: {
    arity: 3,
    shapes: (a, inputs) => {
      mixtureShapes("mixture", a.components, inputs);
      return [{ shape: inputs[0]!.shape }, { shape: [inputs[0]!.shape[0]!] }];
    },
    text: (a) => `components ${a.components}`,
  },
  mixture_grad: {
    arity: 5,
    shapes: (a, inputs) => {
      mixtureShapes("mixture_grad", a.components, inputs);
      const [x, p, rescale, dy, dlogdet] = inputs as [Value, Value, Value, Value, Value];
      if (!sameShape(dy.shape, x.shape) || !sameShape(dlogdet.shape, [x.shape[0]!])) {
        fail("mixture_grad", "dy like x, dlogdet [N]", inputs);
      }
      return [{ shape: x.shape }, { shape: p.shape }, { shape: rescale.shape }];
    },
    text: (a) => `components ${a.components}`,
  },
  mixture_inverse: {
    arity: 3,
    shapes: (a, inputs) => {
      mixtureShapes("mixture_inverse", a.components, inputs);
      return [{ shape: inputs[0]!.shape }, { shape: [inputs[0]!.shape[0]!] }];
    },
    text: (a) => `components ${a.components}`,
  },
  matrix_inverse: {
    arity: 1,
    shapes: (_, inputs) => {
      const n = squareShape("matrix_inverse", inputs);
      return [{ shape: [n, n] }];
    },
    text: () => "",
  },
  log_abs_det: {
    arity: 1,
    shapes: (_, inputs) => {
      squareShape("log_abs_det", inputs);
      return [{ shape: [1] }];
    },
    text: () => "",
  },
  stop_gradient: { arity: 1, shapes: (_, [x]) => [{ shape: x!.shape, dtype: x!.dtype }], text: () => "" },
  repeat: {
    shapes: (a, inputs) => {
      const { region, count, carried } = a;
      if (!Number.isInteger(count) || count < 1) {
        throw new ShapeError(`repeat: expected a positive count, found ${count}`);
      }
      region.params.forEach((p, i) => {
        const want = i < carried ? p.shape : [count, ...p.shape];
        if (!inputs[i] || !sameShape(inputs[i].shape, want)) {
          fail("repeat", `operand ${i} of ${formatShape(want)}`, inputs);
        }
      });
      return region.results.map((r, i) => {
        if (i < carried && !sameShape(r.shape, region.params[i]!.shape)) {
          throw new ShapeError(
            `repeat: expected carried tensor ${i} to stay ${formatShape(region.params[i]!.shape)}, found ${
              formatShape(r.shape)
            }`,
          );
        }
        return { shape: i < carried ? r.shape : [count, ...r.shape] };
      });
    },
    text: (a) => `${a.count} times${a.reversed ? " reversed" : ""}`,
  },
};

/** Text of a node's attributes for people. */
export function formatAttrs<K extends Op>(op: K, attrs: Attrs[K]): string {
  if (op === "map") return formatExpr((attrs as Attrs["map"]).expr);
  return OPS[op].text(attrs);
}

/** The layout of a whole dense tensor. */
export function wholeLayout(shape: Shape): Layout {
  return { offset: 0, shape, strides: denseStrides(shape) };
}
