// y = expression(Aᵀ M A + bias, further inputs), a thread for each tile and channel; neighbouring threads have neighbouring channels. In front of this file stand
//   CF_INPUTS, CF_OUTPUTS   operands of the expression besides the convolution's result, and its results
//   CF_POOLED               mask of results that are summed over windows of 2×2 pixels
//   epilogue(const float* x, float* y)
// The 16 pixels of a tile wait in shared memory (a column a thread), so that the expression is in the code four times, not sixteen.
#pragma once
#include "cuda/kernels/winograd.h"

#if defined(CF_KERNEL)
namespace cf::cuda {

__device__ __forceinline__ uint64_t epilogue_offset(const WinogradWindow& w, const TilePlace& p, uint32_t row, uint32_t column, uint32_t c) {
  return uint64_t{p.image} * w.image + (row * w.row + column * w.pixel + c * w.channel);
}

}  // namespace cf::cuda

CF_KERNEL(const cf::cuda::WinogradOutputArgs a) {
  using namespace cf::cuda;
  const WinogradTiles& t = a.t;
  const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x, at = index / t.channels, c = index - at * t.channels;
  if (at >= t.slice_tiles) return;
  __shared__ float pixels[16][256];
  const uint64_t k_stride = uint64_t{t.slice_tiles} * t.padded;
  const float* m = a.m + uint64_t{at} * t.padded + c;
  float half[24];
  CF_UNROLL
  for (int j = 0; j < 6; ++j) {
    float d[6], o[4];
    CF_UNROLL
    for (int i = 0; i < 6; ++i) d[i] = m[static_cast<uint64_t>(i * 6 + j) * k_stride];
    output4(d, o);
    CF_UNROLL
    for (int i = 0; i < 4; ++i) half[i * 6 + j] = o[i];
  }
  const float bias = a.bias ? a.bias[c] : 0.0f;
  CF_UNROLL
  for (int i = 0; i < 4; ++i) {
    float o[4];
    output4(half + i * 6, o);
    CF_UNROLL
    for (int j = 0; j < 4; ++j) pixels[i * 4 + j][threadIdx.x] = o[j] + bias;
  }
  const TilePlace p = tile_place(t, t.first + at);
  CF_ROLLED
  for (uint32_t window = 0; window < 4; ++window) {
    const uint32_t top = window / 2 * 2, left = window % 2 * 2;
    float x[4][CF_INPUTS + 1], y[4][CF_OUTPUTS];
    CF_UNROLL
    for (uint32_t q = 0; q < 4; ++q) {
      const uint32_t row = top + q / 2, column = left + q % 2;
      x[q][0] = pixels[row * 4 + column][threadIdx.x];
      CF_UNROLL
      for (int i = 0; i < CF_INPUTS; ++i)
        x[q][i + 1] = row < p.rows && column < p.columns ? a.inputs[i].data[epilogue_offset(a.inputs[i], p, p.row + row, p.column + column, c)] : 0.0f;
    }
    CF_UNROLL
    for (uint32_t q = 0; q < 4; ++q) epilogue(x[q], y[q]);
    CF_UNROLL
    for (int j = 0; j < CF_OUTPUTS; ++j) {
      const WinogradWindow& to = a.outputs[j];
      if (CF_POOLED >> j & 1) {
        if (top < p.rows && left < p.columns)
          to.data[epilogue_offset(to, p, (p.row + top) / 2, (p.column + left) / 2, c)] = (y[0][j] + y[1][j]) + (y[2][j] + y[3][j]);
        continue;
      }
      CF_UNROLL
      for (uint32_t q = 0; q < 4; ++q) {
        const uint32_t row = top + q / 2, column = left + q % 2;
        if (row < p.rows && column < p.columns) to.data[epilogue_offset(to, p, p.row + row, p.column + column, c)] = y[q][j];
      }
    }
  }
}
#endif
