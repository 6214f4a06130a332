// dw = Gᵀ (Σ over slices of M) G, a thread for each pair of channels. The slices are added in order: the same sum every time.
#pragma once
#include "cuda/kernels/winograd.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::WinogradBackArgs a) {
  using namespace cf::cuda;
  const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x, o = index / a.i, i = index - o * a.i;
  if (o >= a.o) return;
  const uint64_t k_stride = uint64_t{a.o} * a.row;
  float half[18];
  CF_UNROLL
  for (int j = 0; j < 6; ++j) {
    float d[6], t[3];
    CF_UNROLL
    for (int k = 0; k < 6; ++k) {
      const float* m = a.m + static_cast<uint64_t>(k * 6 + j) * k_stride + uint64_t{o} * a.row + i;
      d[k] = m[0];
      for (uint32_t s = 1; s < a.slices; ++s) d[k] += m[s * 36 * k_stride];
    }
    weights_adjoint3(d, t);
    CF_UNROLL
    for (int k = 0; k < 3; ++k) half[k * 6 + j] = t[k];
  }
  float* dw = a.dw + (uint64_t{o} * a.i + i) * 9;
  CF_UNROLL
  for (int k = 0; k < 3; ++k) {
    float t[3];
    weights_adjoint3(half + k * 6, t);
    CF_UNROLL
    for (int j = 0; j < 3; ++j) dw[k * 3 + j] = t[j];
  }
}
#endif
