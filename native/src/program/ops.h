// The instruction set. Twin of the table in src/compile/opcodes.ts; kOpTableHash (op_table_hash.h) pins the two to each other.
// Every tensor operand is float32 unless said otherwise. "dense" = Tensor::dense(); "strided" = any strides.
#pragma once
#include <cstdint>

namespace cf {

enum class Op : uint32_t {
  /// y… = expression(x…), element by element. inputs: 0..16 strided, same dims as outputs (stride 0 = broadcast); outputs: 1..8 strided.
  /// attrs: [nConst, const bits…, nInstr, (exprOp, a, b, c)…, result id per output]. Value ids: inputs, then constants, then instructions.
  map = 1,
  /// y = scale · reduce(expression(x…)) over axes. inputs like map; output: dims of the inputs with 1 at reduced axes, strided.
  /// attrs: [kind 0 sum / 1 max, axes bit mask (bit k = dim k), scale bits, then map's words with one result].
  reduce = 2,
  /// y[b,m,n] = Σk A[b,m,k]·B[b,k,n] (+ bias[n]). inputs: A, B (+ bias [n]): rank 3, each last or second-last stride is 1 (so transposes are strides);
  /// batch stride 0 broadcasts; outputs rank 3, last stride 1. attrs: [has bias, then optionally an epilogue].
  matmul = 3,
  /// Epilogue (matmul, conv, conv_data_grad): further inputs after the op's own and map's attribute words after the op's own. Value 0 of the expression is
  /// the op's result (bias included), then come the further inputs (output's dims, strided, last stride 1 or 0); each expression result is one output of the
  /// instruction. Without those words the instruction has one output, the result itself.
  /// NHWC convolution. inputs: x [N,H,W,I] dense, w [O,I,kh,kw] dense (OIHW), or Winograd weights of winograd_weights (+ bias [O]); output [N,OH,OW,O] (dense, or dense but for the pixel stride: a channel window of a wider tensor).
  /// attrs: [stride, padding, algo (0 direct, 1 Winograd: second input is U), O, I, kh, kw, flags, then optionally an epilogue]. flags: bit 0 has bias;
  /// bit 8 + j (Winograd with an epilogue): output j is summed over windows of 2×2 pixels, [N,OH/2,OW/2,O].
  conv = 4,
  /// Gradient of conv by x. inputs: dy [N,OH,OW,O] dense, w or U (transform with data_grad = 1); output dx [N,H,W,I] dense. attrs as conv, without bias.
  conv_data_grad = 5,
  /// Gradient of conv by w. inputs: x, dy dense; output dw [O,I,kh,kw] dense. attrs: conv's first seven (algo 1 = Winograd, no extra operand).
  conv_weight_grad = 6,
  /// U = Winograd F(4×4,3×3) transform. inputs: w [O,I,3,3] dense; output [36 · A · B] flat, opaque to TypeScript,
  /// A = ⌈c/16⌉·16 over the channels summed over, B = ⌈o/32⌉·32 over the channels produced (forward: c = I, o = O; data_grad: c = O, o = I). attrs: [data_grad].
  /// Or 54·A·B floats, A rounded up to 32: room for three bfloat16 a value, where the device multiplies tiles of such.
  winograd_weights = 7,
  /// Philox draws. inputs: key u32[4] = (seed, iteration, first sample index, spare); output f32 [N, …] dense; draw of element e of row n uses
  /// key (seed, stream), counter (e ≫ 2, first + n, iteration, loop). attrs: [kind 0 uniform [0,1) / 1 normal, stream hash, loop level + 1 (0 = no loop: counter word 0)].
  random = 8,
  /// Over the last axis (dense, flattened to [P, C]). inputs: x, gain [C], bias [C]; output y. attrs: [eps bits].
  layer_norm = 9,
  /// inputs: x, gain [C], dy; outputs: dx, dgain [C], dbias [C]. attrs: [eps bits].
  layer_norm_grad = 10,
  /// inputs: kvq [N,L,3c] dense, ordered key | value | query, (+ key u32[4] when dropout > 0); outputs: out [N,L,c], lse [N,heads,L]
  /// (log-sum-exp of each row of scaled scores) (+ kept u32 [N,heads,⌈L²/32⌉] when dropout > 0: bit i·L + j for query i and key j, lowest first). attrs: [heads, dropout bits, stream hash, loop level + 1]. Scale (c/heads)^-½ on the query.
  /// Dropout keeps weight (h, i, j) of image n when its draw of 16 bits, element = (h·L + i)·L + j, reaches dropout_threshold(p) (common/philox.h), and divides by
  /// 1 − p (after the softmax). Element e is half e & 7 of the block with counter (e ≫ 3, first + n, iteration, loop).
  attention = 11,
  /// inputs: kvq, out, lse, dout [N,L,c] (+ kept); output: dkvq [N,L,3c]. attrs: [heads, dropout bits].
  attention_grad = 12,
  /// Mixture-of-logistics coupling, density direction. inputs: x [N,P,C], p [N,P,C·(2+3K)] dense, ordered [a | b | π… | μ… | s…], each a group of C;
  /// rescale [C]; outputs: y [N,P,C], logdet [N]. attrs: [K].
  mixture = 13,
  /// inputs: x, p, rescale, dy [N,P,C], dlogdet [N]; outputs: dx, dp, drescale [C]. attrs: [K].
  mixture_grad = 14,
  /// Sampling direction. inputs: y, p, rescale; outputs: x [N,P,C], logdet [N] (of the inverse map). attrs: [K].
  mixture_inverse = 15,
  /// inputs: [n,n] dense; output [n,n] dense; computed in double. attrs: [].
  matrix_inverse = 16,
  /// inputs: [n,n] dense; output [1] = log|det|, computed in double. attrs: [].
  log_abs_det = 17,
  /// Runs the next `body` instructions `count` times. attrs: [count, nesting level (0 = outermost), body, reversed: the loop index counts down].
  repeat = 18,
};

/// Operations of the expression language (map, reduce). a, b, c are value ids; unused ones are 0. Comparisons give 1 or 0.
enum class ExprOp : uint32_t {
  add = 1, sub = 2, mul = 3, div = 4,
  neg = 5, abs = 6,
  max = 7, min = 8,      ///< NaN if either is NaN
  exp = 9, log = 10,
  expm1 = 11, log1p = 12,
  sqrt = 13, rsqrt = 14, recip = 15,
  tanh = 16, sigmoid = 17,
  softplus = 18,         ///< log(1 + e^a), stable in both tails
  lt = 19, le = 20, eq = 21,
  select = 22,           ///< a ≠ 0 ? b : c, bit for bit
  is_finite = 23,
  floor = 24,
  elu = 25,               ///< a > 0 ? a : e^a − 1
};

}  // namespace cf
