#include "cpu/kernels/vec.h"
#include "cpu/kernels/winograd.h"

namespace cf::cpu::CF_ISA {
namespace {

// Aᵀ m
CF_INLINE void output4(const vf m[6], vf o[4]) {
  const vf a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  o[0] = m[0] + a + c;
  o[1] = fma(splat(2), d, b);
  o[2] = fma(splat(4), c, a);
  o[3] = fma(splat(8), d, b) + m[5];
}

// A d
CF_INLINE void adjoint6(const vf d[4], vf o[6]) {
  const vf a = d[0] + d[2], b = d[1] + d[3];
  const vf c = fma(splat(4), d[2], d[0]), t = fma(splat(4), d[3], d[1]), e = t + t;
  o[0] = d[0];
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + e;
  o[4] = c - e;
  o[5] = d[3];
}

// Rows kFirst, kFirst + kStep … of the result. With 32 registers half of the rows are made at a time and M loaded twice: rows 0 and 2, then 1 and
// 3, have their sums in common, and nothing goes through memory half-way.
#if defined(CF_VEC_AVX512)
constexpr int kStep = 2;
#else
constexpr int kStep = 1;
#endif
template <int kFirst>
CF_INLINE void output_rows(const float* m, size_t k_stride, vf shift, float* y, const WinogradTile& t, int n) {
  constexpr int kRows = 4 / kStep;
  vf half[kRows * 6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    vf d[6], o[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = load(m + static_cast<size_t>(i * 6 + j) * k_stride);
    output4(d, o);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) half[i * 6 + j] = o[kFirst + i * kStep];
  }
  const bool whole = n == kWidth && t.right == 4;
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const int row = kFirst + i * kStep;
    if (row >= t.bottom) continue;
    vf o[4];
    output4(half + i * 6, o);
    float* to = y + static_cast<size_t>(row) * t.row;
    if (whole) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) store(to + static_cast<size_t>(j) * t.pixel, o[j] + shift);
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j)
        if (j < t.right) store_first(to + static_cast<size_t>(j) * t.pixel, o[j] + shift, n);
    }
  }
}

}  // namespace

void winograd_output(const float* m, size_t k_stride, size_t channels, const float* bias, float* y, const WinogradTile& t) {
  for (size_t c = 0; c < channels; c += kWidth) {
    const int n = channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(channels - c) : kWidth;
    const vf shift = bias ? load_first(bias + c, n) : vf{};
    output_rows<0>(m + c, k_stride, shift, y + c, t, n);
    if constexpr (kStep > 1) output_rows<kStep - 1>(m + c, k_stride, shift, y + c, t, n);
  }
}

void winograd_output_adjoint(const float* dy, const WinogradTile& t, size_t channels, float* z, size_t k_stride) {
  for (size_t c = 0; c < channels; c += kWidth) {
    const int n = channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(channels - c) : kWidth;
    const bool whole = n == kWidth && t.bottom == 4 && t.right == 4;
    vf half[24];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      vf d[4], o[6];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* p = dy + static_cast<size_t>(i) * t.row + static_cast<size_t>(j) * t.pixel + c;
        d[i] = whole ? load(p) : i < t.bottom && j < t.right ? load_first(p, n) : vf{};
      }
      adjoint6(d, o);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) half[i * 4 + j] = o[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      vf o[6];
      adjoint6(half + i * 4, o);
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) store(z + static_cast<size_t>(i * 6 + j) * k_stride + c, o[j]);
    }
  }
}

}  // namespace cf::cpu::CF_ISA
