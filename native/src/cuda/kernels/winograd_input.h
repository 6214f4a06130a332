// V = Bᵀ d B or, with CF_ADJOINT, Z = A d Aᵀ: a thread for each tile and channel. Neighbouring threads have neighbouring channels, so that all reads and writes
// are whole lines, and each thread's 36 reads are on their way together.
#pragma once
#include "cuda/kernels/winograd.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::WinogradInputArgs a) {
  using namespace cf::cuda;
#if defined(CF_ADJOINT)
  constexpr int kSize = 4, kBorder = 0;
#else
  constexpr int kSize = 6, kBorder = 1;
#endif
  const WinogradTiles& t = a.t;
  const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t at = index / t.padded, c = index - at * t.padded, slice = at / t.slice_tiles, tile = t.first + at;
  if (slice >= t.slices) return;
  float half[6 * kSize] = {};
  const bool there = tile < t.tiles && c < t.channels;
  if (there) {
    const TilePlace p = tile_place(t, tile);
    const float* x = a.x + ((uint64_t{p.image} * t.h + p.row) * t.w + p.column) * t.channels + c;
    CF_UNROLL
    for (int j = 0; j < kSize; ++j) {
      const int column = j - kBorder;
      const bool inside = static_cast<uint32_t>(static_cast<int>(p.column) + column) < t.w;
      float d[kSize], o[6];
      CF_UNROLL
      for (int i = 0; i < kSize; ++i) {
        const int row = i - kBorder;
        const bool use = inside && static_cast<uint32_t>(static_cast<int>(p.row) + row) < t.h;
        d[i] = use ? x[(static_cast<int64_t>(row) * t.w + column) * t.channels] : 0.0f;
      }
#if defined(CF_ADJOINT)
      output_adjoint6(d, o);
#else
      input6(d, o);
#endif
      CF_UNROLL
      for (int i = 0; i < 6; ++i) half[i * kSize + j] = o[i];
    }
  }
  const uint64_t k_stride = uint64_t{t.slice_tiles} * t.padded;
  float* v = a.v + slice * 36 * k_stride + (at - slice * t.slice_tiles) * uint64_t{t.padded} + c;
  CF_UNROLL
  for (int i = 0; i < 6; ++i) {
    float o[6];
#if defined(CF_ADJOINT)
    output_adjoint6(half + i * kSize, o);
#else
    input6(half + i * kSize, o);
#endif
    CF_UNROLL
    for (int j = 0; j < 6; ++j) v[static_cast<uint64_t>(i * 6 + j) * k_stride] = o[j];
  }
}
#endif
