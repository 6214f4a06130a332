/** Checkerboard, channelwise and squeeze rearrangements of NHWC images: strided windows, no arithmetic. */
import { ShapeError } from "../errors.ts";
import { assemble, concat, reshape, split, view } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { denseStrides, formatShape, isDense, type Layout, numel, type Shape } from "../graph/shape.ts";
import type { Context } from "../nn/context.ts";
import { type Bijector, type Forward, type Inverse, noLogDet, type Pair } from "./bijector.ts";

type Shape4 = readonly [number, number, number, number];

function image(x: Value, what: string): Shape4 {
  if (x.shape.length === 4 && x.shape[1]! % 2 === 0 && x.shape[2]! % 2 === 0) return x.shape as unknown as Shape4;
  throw new ShapeError(`${what}: expected images [N,H,W,C] of even height and width, found ${formatShape(x.shape)}`);
}

/** Windows [N, H/2, 2, W/2, C] of the pixels with (row % 2) == (column % 2), and of the others; each collapsed horizontally. */
function checkerboardLayouts([n, h, w, c]: Shape4): [Layout, Layout] {
  const shape = [n, h / 2, 2, w / 2, c];
  return [
    { offset: 0, shape, strides: [h * w * c, 2 * w * c, (w + 1) * c, 2 * c, 1] },
    { offset: c, shape, strides: [h * w * c, 2 * w * c, (w - 1) * c, 2 * c, 1] },
  ];
}

/** [N,H,W,C] → two [N,H,W/2,C]. */
export function splitCheckerboard(x: Value): Pair {
  const shape = image(x, "checkerboard");
  const [n, h, w, c] = shape;
  const [first, second] = checkerboardLayouts(shape).map((layout) => reshape(view(x, layout), [n, h, w / 2, c]));
  return { first: first!, second: second! };
}

/** Inverse of {@linkcode splitCheckerboard}. */
export function joinCheckerboard({ first, second }: Pair): Value {
  const [n, h, w, c] = first.shape as unknown as Shape4;
  const shape: Shape4 = [n, h, 2 * w, c];
  const layouts = checkerboardLayouts(shape);
  return assemble(
    shape,
    [first, second].map((half, i) => {
      const layout = layouts[i]!;
      return { value: reshape(half, layout.shape), layout };
    }),
  );
}

/** First and second half of the channels. */
export function splitChannels(x: Value): Pair {
  const [first, second] = split(x, 2, -1);
  return { first: first!, second: second! };
}

function windowOf(x: Value): { base: Value; layout: Layout } | undefined {
  return x.node.op === "view" ? { base: x.node.inputs[0]!, layout: x.node.attrs.layout } : undefined;
}

/** Inverse of {@linkcode splitChannels}; halves that were split from one tensor give that tensor back without copying. */
export function joinChannels({ first, second }: Pair): Value {
  const a = windowOf(first), b = windowOf(second);
  const joined: Shape = [...first.shape.slice(0, -1), 2 * first.shape.at(-1)!];
  if (a && b && a.base === b.base && numel(a.base.shape) === numel(joined)) {
    const whole = { offset: a.layout.offset, shape: joined, strides: a.layout.strides };
    const adjacent = a.layout.offset === 0 && b.layout.offset === first.shape.at(-1);
    const same = denseStrides(joined).every((s, i) => s === a.layout.strides[i] && s === b.layout.strides[i]);
    if (adjacent && same && isDense(whole)) return reshape(a.base, joined);
  }
  return concat([first, second], -1);
}

/** Window [N, H/2, W/2, C, 2, 2] of an image: the result's channel is c·4 + (dy·2 + dx). */
function squeezeLayout([n, h, w, c]: Shape4): Layout {
  return { offset: 0, shape: [n, h / 2, w / 2, c, 2, 2], strides: [h * w * c, 2 * w * c, 2 * c, 1, w * c, c] };
}

/** 2×2 pixels to channels: [N,H,W,C] → [N,H/2,W/2,4C], channel c·4 + (dy·2 + dx). */
export function squeeze(x: Value): Value {
  const shape = image(x, "squeeze");
  const [n, h, w, c] = shape;
  return reshape(view(x, squeezeLayout(shape)), [n, h / 2, w / 2, 4 * c]);
}

/** Inverse of {@linkcode squeeze}. */
export function unsqueeze(y: Value): Value {
  const [n, h, w, c] = y.shape as unknown as Shape4;
  if (c % 4 !== 0) throw new ShapeError(`unsqueeze: expected a multiple of 4 channels, found ${formatShape(y.shape)}`);
  const shape: Shape4 = [n, 2 * h, 2 * w, c / 4];
  const layout = squeezeLayout(shape);
  return assemble(shape, [{ value: reshape(y, layout.shape), layout }]);
}

/** Swaps the halves. */
export class Flip implements Bijector<Pair> {
  forward(_: Context, { first, second }: Pair): Forward<Pair> {
    return { y: { first: second, second: first }, logDet: noLogDet(first.graph) };
  }

  inverse(_: Context, { first, second }: Pair): Inverse<Pair> {
    return { x: { first: second, second: first }, logDet: noLogDet(first.graph) };
  }
}

/** Runs a bijector of pairs on the halves of an image. */
export class OnHalves implements Bijector<Value> {
  readonly #inner: Bijector<Pair>;
  readonly #split: (x: Value) => Pair;
  readonly #join: (halves: Pair) => Value;

  constructor(inner: Bijector<Pair>, kind: "checkerboard" | "channelwise") {
    this.#inner = inner;
    this.#split = kind === "checkerboard" ? splitCheckerboard : splitChannels;
    this.#join = kind === "checkerboard" ? joinCheckerboard : joinChannels;
  }

  forward(ctx: Context, x: Value, aux?: Value): Forward<Value> {
    const { y, logDet } = this.#inner.forward(ctx, this.#split(x), aux);
    return { y: this.#join(y), logDet };
  }

  inverse(ctx: Context, y: Value, aux?: Value): Inverse<Value> {
    const { x, logDet } = this.#inner.inverse(ctx, this.#split(y), aux);
    return { x: this.#join(x), logDet };
  }
}
