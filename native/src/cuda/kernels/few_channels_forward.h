// y[p, o] = Σ x[p + tap, i] w[o, i, tap]: a thread for each output channel and strip of a row. Its weights stay in registers, and the columns of the input that
// neighbouring pixels share; all threads of a warp read the same inputs. Blocks are of channels × strips.
#pragma once
#include "cuda/kernels/few_channels.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::FewChannelsArgs a) {
  using namespace cf::cuda;
  constexpr int kTaps = CF_KH * CF_KW, kColumn = CF_KH * CF_I;
  const uint32_t o = blockIdx.y * blockDim.x + threadIdx.x, strips = (a.ow + a.strip - 1) / a.strip;
  const uint32_t unit = blockIdx.x * blockDim.y + threadIdx.y, line = unit / strips, image = line / a.oh;
  if (o >= a.o || image >= a.n) return;
  const uint32_t row = line - image * a.oh, first = (unit - line * strips) * a.strip, last = min(first + a.strip, a.ow);
  float w[CF_I][kTaps];
  CF_UNROLL
  for (int i = 0; i < CF_I; ++i) {
    CF_UNROLL
    for (int t = 0; t < kTaps; ++t) w[i][t] = a.w[(uint64_t{o} * CF_I + i) * kTaps + t];
  }
  const float* x = a.from + uint64_t{image} * a.h * a.wide * CF_I;
  const auto read = [&](float* column, uint32_t at) {
    CF_UNROLL
    for (int k = 0; k < CF_KH; ++k) {
      // Outside numbers are large ones.
      const uint32_t y = row + k - CF_PADDING, z = at - CF_PADDING;
      const bool inside = y < a.h && z < a.wide;
      CF_UNROLL
      for (int i = 0; i < CF_I; ++i) column[k * CF_I + i] = inside ? x[(uint64_t{y} * a.wide + z) * CF_I + i] : 0.0f;
    }
  };
  float columns[CF_KW][kColumn];
  CF_UNROLL
  for (int k = 0; k + 1 < CF_KW; ++k) read(columns[k + 1], first + k);
  float* y = a.to + ((uint64_t{image} * a.oh + row) * a.ow + first) * a.o + o;
  CF_ROLLED
  for (uint32_t p = first; p < last; ++p, y += a.o) {
    CF_UNROLL
    for (int k = 0; k + 1 < CF_KW; ++k) {
      CF_UNROLL
      for (int i = 0; i < kColumn; ++i) columns[k][i] = columns[k + 1][i];
    }
    read(columns[CF_KW - 1], p + CF_KW - 1);
    float sum = 0;
    CF_UNROLL
    for (int k = 0; k < CF_KH; ++k) {
      CF_UNROLL
      for (int t = 0; t < CF_KW; ++t) {
        CF_UNROLL
        for (int i = 0; i < CF_I; ++i) sum += columns[t][k * CF_I + i] * w[i][k * CF_KW + t];
      }
    }
    *y = sum;
  }
}
#endif
