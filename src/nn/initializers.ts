/** First values of parameters, as PyTorch's layers draw them; pure functions of (seed, stream). */
import { numel, type Shape } from "../graph/shape.ts";
import { normals, uniforms } from "../random.ts";

/** Draws n numbers from U[0, 1), as {@linkcode uniforms} does. */
export type Uniforms = (seed: number, stream: string, n: number) => Float32Array<ArrayBuffer>;

/** Makes a parameter's first value; `draw` may be a faster way to the same draws. */
export type Initializer = (seed: number, stream: string, draw?: Uniforms) => Float32Array;

/** Every element is `value`. */
export function filled(shape: Shape, value: number): Initializer {
  return () => new Float32Array(numel(shape)).fill(value);
}

/** U(−1/√fanIn, 1/√fanIn): PyTorch's default for convolutions (Kaiming-uniform with a = √5), linear layers and their biases. */
export function fanInUniform(shape: Shape, fanIn: number): Initializer {
  const bound = 1 / Math.sqrt(fanIn);
  return (seed, stream, draw = uniforms) => {
    const values = draw(seed, stream, numel(shape));
    for (let i = 0; i < values.length; i++) values[i] = (2 * values[i]! - 1) * bound;
    return values;
  };
}

/** ‖v‖ of each of `rows` equal parts of what `v` draws from the stream of the parameter `weight_v` beside this `weight_g`. */
export function rowNorms(v: Initializer, rows: number): Initializer {
  return (seed, stream, draw) => {
    const values = v(seed, stream.replace(/weight_g$/, "weight_v"), draw);
    const size = values.length / rows;
    return Float32Array.from({ length: rows }, (_, r) => norm(values.subarray(r * size, (r + 1) * size)));
  };
}

/** n×n identity + 10⁻³·N(0, 1): the invertible convolution's start. */
export function nearIdentity(n: number): Initializer {
  return (seed, stream) => normals(seed, stream, n * n).map((e, i) => (i % (n + 1) === 0 ? 1 : 0) + 1e-3 * e);
}

/** N(0, I) of `n` elements, divided by its norm. */
export function unitNormal(n: number): Initializer {
  return (seed, stream) => {
    const values = Float32Array.from(normals(seed, stream, n));
    const length = Math.max(norm(values), 1e-12);
    return values.map((v) => v / length);
  };
}

function norm(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return Math.sqrt(sum);
}
