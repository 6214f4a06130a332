// dx[p, i] = Σ dy[p − tap, o] w[o, i, tap]: a group of CF_LANES threads of a warp for each strip of a row, four output channels a thread, whose weights and
// columns of dy stay in registers; the group adds up its sums in a tree. blockIdx.y is the part of CF_PART input channels.
#pragma once
#include "cuda/kernels/few_channels.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::FewChannelsArgs a) {
  using namespace cf::cuda;
  constexpr int kTaps = CF_KH * CF_KW;
  const uint32_t lane = threadIdx.x % CF_LANES, o = 4 * lane, strips = (a.wide + a.strip - 1) / a.strip, part = blockIdx.y * CF_PART;
  const uint32_t unit = (blockIdx.x * blockDim.x + threadIdx.x) / CF_LANES, line = unit / strips, image = line / a.h;
  // All threads stay: they add up together.
  const bool there = image < a.n, use = there && o < a.o;
  const uint32_t row = line - image * a.h, first = (unit - line * strips) * a.strip;
  float w[CF_PART][kTaps][4];
  CF_UNROLL
  for (int i = 0; i < CF_PART; ++i) {
    CF_UNROLL
    for (int t = 0; t < kTaps; ++t) {
      CF_UNROLL
      for (int q = 0; q < 4; ++q) w[i][t][q] = use && part + i < CF_I ? a.w[(uint64_t{o + q} * CF_I + part + i) * kTaps + t] : 0.0f;
    }
  }
  const float* dy = a.from + uint64_t{image} * a.oh * a.ow * a.o + o;
  const auto read = [&](float (*column)[4], uint32_t at) {
    CF_UNROLL
    for (int k = 0; k < CF_KH; ++k) {
      // Outside numbers are large ones.
      const uint32_t y = row + CF_PADDING - k;
      float4 v = make_float4(0, 0, 0, 0);
      if (use && y < a.oh && at < a.ow) v = *reinterpret_cast<const float4*>(dy + (uint64_t{y} * a.ow + at) * a.o);
      column[k][0] = v.x, column[k][1] = v.y, column[k][2] = v.z, column[k][3] = v.w;
    }
  };
  // Column k of dy meets tap CF_KW − 1 − k.
  float columns[CF_KW][CF_KH][4];
  CF_UNROLL
  for (int k = 0; k + 1 < CF_KW; ++k) read(columns[k + 1], first + CF_PADDING - (CF_KW - 1) + k);
  CF_ROLLED
  for (uint32_t s = 0; s < a.strip; ++s) {
    CF_UNROLL
    for (int k = 0; k + 1 < CF_KW; ++k) {
      CF_UNROLL
      for (int i = 0; i < CF_KH; ++i) {
        CF_UNROLL
        for (int q = 0; q < 4; ++q) columns[k][i][q] = columns[k + 1][i][q];
      }
    }
    const uint32_t p = first + s;
    read(columns[CF_KW - 1], p + CF_PADDING);
    CF_UNROLL
    for (int i = 0; i < CF_PART; ++i) {
      float sum = 0;
      CF_UNROLL
      for (int k = 0; k < CF_KH; ++k) {
        CF_UNROLL
        for (int t = 0; t < CF_KW; ++t) {
          CF_UNROLL
          for (int q = 0; q < 4; ++q) sum += columns[CF_KW - 1 - t][k][q] * w[i][k * CF_KW + t][q];
        }
      }
      CF_UNROLL
      for (int other = CF_LANES / 2; other > 0; other /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, other);
      if (there && lane == 0 && p < a.wide && part + i < CF_I) a.to[((uint64_t{image} * a.h + row) * a.wide + p) * CF_I + part + i] = sum;
    }
  }
}
#endif
