// U = G w Gᵀ, a thread for each pair of channels, padding included. Neighbouring threads produce neighbouring channels, so that the 36 writes are whole lines;
// a block's eight channels that are summed over lie together in w, so that its strided reads use whole lines too.
#pragma once
#include "cuda/kernels/winograd.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::WinogradWeightsArgs a) {
  using namespace cf::cuda;
  const uint32_t to = blockIdx.x * 32 + threadIdx.x, from = blockIdx.y * 8 + threadIdx.y;
  float taps[9] = {};
  if (to < a.produced && from < a.summed) {
    const float* w = a.w + uint64_t{to} * a.produced_stride + uint64_t{from} * a.summed_stride;
    CF_UNROLL
    for (int t = 0; t < 9; ++t) taps[t] = w[a.turned ? 8 - t : t];
  }
  float half[18];
  CF_UNROLL
  for (int j = 0; j < 3; ++j) {
    const float d[3] = {taps[j], taps[3 + j], taps[6 + j]};
    float o[6];
    weights6(d, o);
    CF_UNROLL
    for (int k = 0; k < 6; ++k) half[k * 3 + j] = o[k];
  }
  float* u = a.u + uint64_t{from} * a.b + to;
  CF_UNROLL
  for (int k = 0; k < 6; ++k) {
    float o[6];
    weights6(half + k * 3, o);
    CF_UNROLL
    for (int j = 0; j < 6; ++j) u[static_cast<uint64_t>(k * 6 + j) * a.a * a.b] = o[j];
  }
}
#endif
