/** What each graph operation is told besides its operands. */
import type { Expr } from "./expr.ts";
import type { Region } from "./graph.ts";
import type { DType, Layout, Shape } from "./shape.ts";

/** Convolution hyperparameters; kernels are square windows read from the weight's shape. */
export interface ConvAttrs {
  readonly stride: number;
  readonly padding: number;
}

/** Heads of an attention, and the probability with which it drops a weight. */
interface Heads {
  readonly heads: number;
  readonly dropout: number;
}

/** Dropout inside attention: the draw's stream. */
export interface AttentionAttrs extends Heads {
  readonly stream: string;
  readonly loop: number;
}

/** Attributes of each op. */
export interface Attrs {
  /** A tensor that the host writes before a run. */
  feed: { readonly name: string; readonly dtype: DType; readonly shape: Shape };
  /** A named persistent tensor: the value it had when the run began. */
  state: { readonly name: string; readonly shape: Shape };
  /** A tensor that a repeat's body receives: carried or scanned. */
  param: { readonly shape: Shape };
  constant: { readonly data: Float32Array; readonly shape: Shape; readonly key: string };
  /** One expression over operands of one shape. Broadcasting is explicit (`view` with stride 0); with no operand it fills `shape`. */
  map: { readonly expr: Expr; readonly shape: Shape };
  /** Reduces over `axes`, which stay as size 1. */
  reduce: { readonly kind: "sum" | "max"; readonly axes: readonly number[] };
  /** A strided window on the dense elements of the operand: reshape, transpose, slice, broadcast, checkerboard, squeeze. */
  view: { readonly layout: Layout };
  /** Writes operand k into window k of a new tensor of `shape`; what no window covers is zero. Concatenate, pad, un-squeeze. */
  assemble: { readonly shape: Shape; readonly parts: readonly Layout[] };
  /** y[b,m,n] = Σ_k A[b,m,k]·B[b,k,n]. */
  matmul: Record<never, never>;
  /** y[n,h,w,o] = Σ_{i,r,s} x[n, h·stride + r − padding, w·stride + s − padding, i]·w[o,i,r,s]: NHWC images, OIHW weights. */
  conv: ConvAttrs;
  /** Adjoint of conv in x: operands dy, w. */
  conv_data_grad: ConvAttrs & { readonly height: number; readonly width: number };
  /** Adjoint of conv in w: operands x, dy. */
  conv_weight_grad: ConvAttrs & { readonly kernel: number };
  /** Philox draws by (seed, stream; sample, element, iteration, loop). Operand: key u32[4] = (seed, iteration, first sample, 0). */
  random: {
    readonly kind: "uniform" | "normal";
    readonly stream: string;
    readonly shape: Shape;
    readonly loop: number;
  };
  /** (x − mean)/√(var + eps)·gain + bias over the last axis. */
  layer_norm: { readonly eps: number };
  /** Adjoint of layer_norm: operands x, gain, dy; results dx, dgain, dbias. */
  layer_norm_grad: { readonly eps: number };
  /**
   * Softmax attention of [N, L, 3c] = key | value | query: results out [N, L, c], log-sum-exp [N, heads, L] and, with dropout, the kept weights as bits,
   * u32 [N, heads, ⌈L²/32⌉]: bit i·L + j for query i and key j, lowest first.
   */
  attention: AttentionAttrs;
  /** Adjoint of attention: operands kvq, out, log-sum-exp, dout and, with dropout, the kept weights; result dkvq. */
  attention_grad: Heads;
  /** Mixture-of-logistics coupling of x [N,P,C] by p [N,P,C·(2+3K)], rescale [C]: results y, log-det [N] (REFERENCE: Flow++ §3). */
  mixture: { readonly components: number };
  mixture_grad: { readonly components: number };
  mixture_inverse: { readonly components: number };
  /** Inverse of a square matrix, computed in double precision. */
  matrix_inverse: Record<never, never>;
  /** log|det| of a square matrix as [1], computed in double precision. */
  log_abs_det: Record<never, never>;
  /** Identity that gradients do not pass. */
  stop_gradient: Record<never, never>;
  /**
   * Runs `region` count times. Operands: the carried tensors' first values, then the scanned tensors [count, …] (slice t, or count−1−t when reversed).
   * Results: the carried tensors' last values, then the stacked per-step results [count, …] (step t at t, or count−1−t when reversed).
   */
  repeat: { readonly count: number; readonly region: Region; readonly carried: number; readonly reversed: boolean };
}

/** Name of a graph operation. */
export type Op = keyof Attrs;
