/** Shapes, row-major strides and strided layouts: plain data and pure functions. */
import { ShapeError } from "../errors.ts";

/** Element types. Both are four bytes wide; `u32` only feeds random draws. */
export type DType = "f32" | "u32";

/** Sizes of a tensor's dimensions, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];

/** A window on a dense tensor: element (i0, i1, …) is element `offset + Σ i_k·strides[k]` of it. */
export interface Layout {
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
}

/** Highest rank a tensor may have (the native loader's limit). */
export const MAX_RANK = 6;

/** Number of elements of `shape`. */
export function numel(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** Row-major strides of a dense tensor, in elements. */
export function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** `2x3x4`, or `scalar`. */
export function formatShape(shape: Shape): string {
  return shape.length === 0 ? "scalar" : shape.join("x");
}

/** Throws ShapeError unless every size is a positive integer and the rank is at most {@linkcode MAX_RANK}. */
export function checkShape(shape: Shape, what: string): void {
  if (shape.length > MAX_RANK) {
    throw new ShapeError(
      `${what}: expected at most ${MAX_RANK} dimensions, found ${shape.length} (${formatShape(shape)})`,
    );
  }
  for (const d of shape) {
    if (!Number.isInteger(d) || d < 1) {
      throw new ShapeError(`${what}: expected positive integer sizes, found [${shape}]`);
    }
  }
}

/** Whether `layout` walks its tensor in row-major order without holes (its offset aside). */
export function isDense(layout: Layout): boolean {
  let step = 1;
  for (let i = layout.shape.length - 1; i >= 0; i--) {
    if (layout.shape[i] !== 1 && layout.strides[i] !== step) return false;
    step *= layout.shape[i]!;
  }
  return true;
}

/** NumPy's broadcast of two shapes, aligned at the last dimension. */
export function broadcastShapes(a: Shape, b: Shape, what: string): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const x = a[a.length - i] ?? 1, y = b[b.length - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`${what}: expected shapes that broadcast, found ${formatShape(a)} and ${formatShape(b)}`);
    }
    out[rank - i] = x === 1 ? y : x;
  }
  return out;
}

/** Index of the furthest element that `layout` touches. */
export function furthest(layout: Layout): number {
  return layout.shape.reduce((far, d, i) => far + (d - 1) * layout.strides[i]!, layout.offset);
}

/**
 * The layout of `outer` seen through `inner`: `outer` indexes the dense elements of a tensor that itself is the window `inner`.
 * Returns undefined when that is not a single strided window (a reshape across a transpose, say).
 */
export function composeLayouts(inner: Layout, outer: Layout): Layout | undefined {
  // Merge inner dimensions that lie behind each other, so that an outer stride may cross them.
  const dims: { size: number; stride: number }[] = [];
  inner.shape.forEach((size, i) => {
    if (size === 1) return;
    const stride = inner.strides[i]!;
    const last = dims[dims.length - 1];
    if (last && last.stride === stride * size) {
      last.size *= size;
      last.stride = stride;
    } else dims.push({ size, stride });
  });
  const steps = denseStrides(dims.map((d) => d.size)); // of the dense order of the merged dimensions
  const digitsOf = (n: number): number[] =>
    steps.map((step) => {
      const digit = Math.floor(n / step);
      n -= digit * step;
      return digit;
    });
  const start = digitsOf(outer.offset);
  const reach = [...start];
  const strides = new Array<number>(outer.shape.length).fill(0);
  for (let k = 0; k < outer.shape.length; k++) {
    if (outer.shape[k] === 1) continue;
    const digits = digitsOf(outer.strides[k]!);
    digits.forEach((digit, d) => {
      reach[d]! += digit * (outer.shape[k]! - 1);
      strides[k]! += digit * dims[d]!.stride;
    });
  }
  // Any carry from one digit into the next would leave the strided window.
  if (reach.some((r, d) => r > dims[d]!.size - 1)) return undefined;
  const offset = start.reduce((sum, digit, d) => sum + digit * dims[d]!.stride, inner.offset);
  return { offset, shape: outer.shape, strides };
}
