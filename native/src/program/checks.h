// What an op demands of its operands, whatever runs it. Each function throws Error{invalid_program} saying what was expected and found.
#pragma once
#include <vector>

#include "program/conv_shape.h"
#include "program/operands.h"

namespace cf {

void check_map(const Program& program, const Instr& instr);
void check_reduce(const Program& program, const Instr& instr);
void check_random(const Program& program, const Instr& instr);

/// C[b] = A[b]·B[b] (+ bias) with C [batch, m, n]. Of each operand's strides of rows and columns at least one is 1; a batch stride of 0 repeats it.
struct Product {
  struct Matrix {
    const Tensor* tensor;
    size_t batch, row, col;  ///< strides
  };
  size_t batch, m, n, k;
  Matrix a, b;
  const Tensor* bias;  ///< or null
  size_t own_inputs() const { return bias ? 3 : 2; }
};
constexpr size_t kMatmulAttrs = 1;
/// Does not look at the epilogue.
Product check_matmul(const Program& program, const Instr& instr);

/// The operands of an instruction behind `own_inputs`, its attribute words behind `own_attrs`, and all of its outputs, for an op that gives `dims`. Bit j of
/// `pooled`: output j has half the rows and columns. Returns whether there is an epilogue.
bool check_epilogue(const Program& program, const Instr& instr, size_t own_inputs, size_t own_attrs, const std::vector<size_t>& dims, uint32_t pooled = 0);

struct ConvOperands {
  ConvShape shape;
  bool winograd;
  uint32_t pooled;          ///< mask of the outputs that are pooled
  const Tensor* x;          ///< null for data_grad
  const Tensor* w;          ///< [O, I, kh, kw], or Winograd's U; for weight_grad the output
  const Tensor* dy;         ///< of the gradients
  const Tensor* bias;       ///< or null
  size_t own_inputs() const { return bias ? 3 : 2; }
};
constexpr size_t kConvAttrs = 8, kConvWeightGradAttrs = 7;
// They don't look at the epilogue.
ConvOperands check_conv(const Program& program, const Instr& instr);
ConvOperands check_conv_data_grad(const Program& program, const Instr& instr);
ConvOperands check_conv_weight_grad(const Program& program, const Instr& instr);
/// Returns w; the output is [36 · A · B].
const Tensor& check_winograd_weights(const Program& program, const Instr& instr);

/// Flat size of the transformed weights for `summed` channels to `produced` ones.
constexpr size_t winograd_weights_size(size_t summed, size_t produced) { return 36 * ((summed + 15) / 16 * 16) * ((produced + 31) / 32 * 32); }
/// The same with room for three bfloat16 a value (cpu/kernels/split_products.h). A program may ask for either; where there is no use for parts, the values are there.
constexpr size_t winograd_parts_size(size_t summed, size_t produced) { return 54 * ((summed + 31) / 32 * 32) * ((produced + 31) / 32 * 32); }
inline bool has_room_for_parts(const Tensor& u, size_t summed, size_t produced) { return u.rank == 1 && u.dims[0] == winograd_parts_size(summed, produced); }

}  // namespace cf
