// Layer normalisation over the last axis: y = (x − mean)/√(variance + eps)·gain + bias, row by row.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct LayerNormArgs {
  size_t channels;
  float eps;
  const float *x, *gain, *bias, *dy;  ///< bias: forward only; dy: gradient only
  float *y, *dx;
};

}  // namespace cf::cpu

// Rows [begin, end). The gradient adds dgain and dbias to sums[0, 2·channels), through `block` (2·round_up(channels, 16) floats).
CF_DECLARE(void layer_norm_rows(const LayerNormArgs& args, size_t begin, size_t end);
           void layer_norm_grad_rows(const LayerNormArgs& args, size_t begin, size_t end, float* block, double* sums);)
