// out[row] = Σ in[row, ·], in order: the few parts of each image's log-determinant, a thread an image.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct RowSumArgs {
  const double* in;
  float* out;
  uint32_t rows, columns;
};

}  // namespace cf::cuda

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::RowSumArgs a) {
  const uint32_t row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= a.rows) return;
  double sum = 0.0;
  for (uint32_t i = 0; i < a.columns; ++i) sum += a.in[uint64_t{row} * a.columns + i];
  a.out[row] = static_cast<float>(sum);
}
#endif
