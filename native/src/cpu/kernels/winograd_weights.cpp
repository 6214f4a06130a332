#include "cpu/kernels/gemm.h"
#include "cpu/kernels/transpose.h"
#include "cpu/kernels/vec.h"
#include "cpu/kernels/winograd.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr size_t kPanel = panel_width(Isa::CF_ISA);

// G w
CF_INLINE void weights6(const vf w[3], vf o[6]) {
  const vf a = (w[0] + w[2]) * splat(-1.0f / 6), b = w[1] * splat(1.0f / 6);
  const vf c = fma(w[2], splat(4), w[0]) * splat(1.0f / 24), d = w[1] * splat(1.0f / 12);
  o[0] = w[0] * splat(0.25f);
  o[1] = a - b;
  o[2] = a + b;
  o[3] = c + d;
  o[4] = c - d;
  o[5] = w[2];
}

// Gᵀ m
CF_INLINE void adjoint3(const vf m[6], vf o[3]) {
  const vf a = (m[1] + m[2]) * splat(1.0f / 6), b = (m[2] - m[1]) * splat(1.0f / 6), c = m[3] + m[4], d = m[3] - m[4];
  o[0] = fma(m[0], splat(0.25f), fma(c, splat(1.0f / 24), -a));
  o[1] = fma(d, splat(1.0f / 12), b);
  o[2] = fma(c, splat(1.0f / 6), m[5] - a);
}

// taps[9][kWidth] to kWidth groups of nine.
CF_INLINE void interleave(const float* taps, float* to) {
#if defined(CF_SHUFFLES)
  for (int first = 0; first < kWidth; first += 8, to += 72) {
    vs rows[8], groups[8];
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) __builtin_memcpy(&rows[t], taps + t * kWidth + first, sizeof(vs));
    transpose8(rows, groups);
#pragma GCC unroll 8
    for (int l = 0; l < 8; ++l) {
      __builtin_memcpy(to + l * 9, &groups[l], sizeof(vs));
      to[l * 9 + 8] = taps[8 * kWidth + first + l];  // the ninth fills the gaps between the rows
    }
  }
#else
  for (int l = 0; l < kWidth; ++l)
    for (int t = 0; t < 9; ++t) to[l * 9 + t] = taps[t * kWidth + l];
#endif
}

// `lanes` groups of nine, lane_stride apart, to taps[9][kPanel]; turned: the nine backwards.
CF_INLINE void gather(const float* from, size_t lanes, size_t lane_stride, bool turned, float* taps) {
  size_t l = 0;
#if defined(CF_SHUFFLES)
  for (; l + 8 <= lanes; l += 8) {
    vs groups[8], rows[8];
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; ++k) __builtin_memcpy(&groups[k], from + (l + k) * lane_stride, sizeof(vs));
    transpose8(groups, rows);
#pragma GCC unroll 8
    for (size_t t = 0; t < 8; ++t) __builtin_memcpy(taps + (turned ? 8 - t : t) * kPanel + l, &rows[t], sizeof(vs));
    for (size_t k = 0; k < 8; ++k) taps[(turned ? 0 : 8) * kPanel + l + k] = from[(l + k) * lane_stride + 8];
  }
#endif
  for (; l < lanes; ++l)
    for (size_t t = 0; t < 9; ++t) taps[(turned ? 8 - t : t) * kPanel + l] = from[l * lane_stride + t];
}

}  // namespace

void winograd_weights(const float* w, size_t o, size_t i, bool data_grad, size_t panel, size_t c0, size_t c1, float* u) {
  const size_t summed = data_grad ? o : i, produced = data_grad ? i : o;
  const size_t a = (summed + 15) / 16 * 16, k_stride = a * ((produced + 31) / 32 * 32);
  const size_t first = panel * kPanel, lanes = first > produced ? 0 : produced - first < kPanel ? produced - first : kPanel;
  const size_t lane_stride = data_grad ? 9 : i * 9, c_stride = data_grad ? i * 9 : 9;
  // What is larger than a cache's share goes past the caches: reading lines in only to overwrite them would cost as much as the writing.
  constexpr size_t kCached = 8u << 20;
  const bool past = 36 * k_stride * sizeof(float) > kCached && reinterpret_cast<uintptr_t>(u) % 64 == 0;
  // A few channels are made side by side and then written plane by plane: the 36 planes lie a multiple of a page apart, so that writing a vector to each in turn
  // would throw every line out of the first-level cache before its second vector comes.
  constexpr size_t kGroup = 8, kPlane = kGroup * kPanel;
  alignas(64) float taps[9 * kPanel] = {}, tile[36 * kPlane];
  for (size_t c = c0; c < c1; c += kGroup) {
    const size_t group = c1 - c < kGroup ? c1 - c : kGroup;
    for (size_t g = 0; g < group; ++g) {
      float* const own = tile + g * kPanel;
      if (c + g >= summed) {
        for (size_t k = 0; k < 36; ++k)
          for (size_t l = 0; l < kPanel; l += kWidth) store(own + k * kPlane + l, vf{});
        continue;
      }
      gather(w + (c + g) * c_stride + first * lane_stride, lanes, lane_stride, data_grad, taps);
      for (size_t l = 0; l < kPanel; l += kWidth) {
        vf half[18];
#pragma GCC unroll 3
        for (size_t j = 0; j < 3; ++j) {
          const vf d[3] = {load(taps + j * kPanel + l), load(taps + (3 + j) * kPanel + l), load(taps + (6 + j) * kPanel + l)};
          vf t[6];
          weights6(d, t);
#pragma GCC unroll 6
          for (size_t k = 0; k < 6; ++k) half[k * 3 + j] = t[k];
        }
#pragma GCC unroll 6
        for (size_t k = 0; k < 6; ++k) {
          vf t[6];
          weights6(half + k * 3, t);
#pragma GCC unroll 6
          for (size_t j = 0; j < 6; ++j) store(own + (k * 6 + j) * kPlane + l, t[j]);
        }
      }
    }
    float* const to = u + (panel * a + c) * kPanel;
    for (size_t k = 0; k < 36; ++k)
      for (size_t l = 0; l < group * kPanel; l += kWidth) {
        const vf v = load(tile + k * kPlane + l);
        past ? stream(to + k * k_stride + l, v) : store(to + k * k_stride + l, v);
      }
  }
  if (past) fence_streams();
}

void winograd_weights_adjoint(const float* m, size_t k_stride, size_t channels, float* dw) {
  for (size_t c = 0; c < channels; c += kWidth) {
    const size_t n = channels - c < static_cast<size_t>(kWidth) ? channels - c : kWidth;
    vf half[18];
#pragma GCC unroll 6
    for (size_t j = 0; j < 6; ++j) {
      vf d[6], t[3];
#pragma GCC unroll 6
      for (size_t i = 0; i < 6; ++i) d[i] = load(m + (i * 6 + j) * k_stride + c);
      adjoint3(d, t);
#pragma GCC unroll 3
      for (size_t i = 0; i < 3; ++i) half[i * 6 + j] = t[i];
    }
    float taps[9 * kWidth];
#pragma GCC unroll 3
    for (size_t i = 0; i < 3; ++i) {
      vf t[3];
      adjoint3(half + i * 6, t);
#pragma GCC unroll 3
      for (size_t j = 0; j < 3; ++j) store(taps + (i * 3 + j) * kWidth, t[j]);
    }
    float* to = dw + c * 9;
    if (n == static_cast<size_t>(kWidth)) {
      interleave(taps, to);
    } else {
      for (size_t l = 0; l < n; ++l)
        for (size_t t = 0; t < 9; ++t) to[l * 9 + t] = taps[t * kWidth + l];
    }
  }
}

}  // namespace cf::cpu::CF_ISA
