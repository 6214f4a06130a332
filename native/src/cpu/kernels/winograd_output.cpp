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
// kWhole: all 4×4 pixels and kWidth channels are stored.
template <int kFirst, bool kWhole>
CF_INLINE void output_rows(const float* m, size_t k_stride, vf shift, float* y, const WinogradTile& t, int n) {
  constexpr int kRows = 4 / kStep;
  const size_t m_row = 6 * k_stride, y_row = t.row, y_pixel = t.pixel;
  vf half[kRows * 6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    vf d[6], o[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = load(m + static_cast<size_t>(i) * m_row);
    m = here(m + k_stride);
    output4(d, o);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) half[i * 6 + j] = o[kFirst + i * kStep];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const int row = kFirst + i * kStep;
    if (!kWhole && row >= t.bottom) continue;
    vf o[4];
    output4(half + i * 6, o);
    float* to = y + static_cast<size_t>(row) * y_row;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (kWhole) store(to + static_cast<size_t>(j) * y_pixel, o[j] + shift);
      else if (j < t.right) store_first(to + static_cast<size_t>(j) * y_pixel, o[j] + shift, n);
    }
  }
}

template <bool kWhole>
CF_INLINE void output(const float* m, size_t k_stride, vf shift, float* y, const WinogradTile& t, int n) {
  output_rows<0, kWhole>(m, k_stride, shift, y, t, n);
  if constexpr (kStep > 1) output_rows<kStep - 1, kWhole>(m, k_stride, shift, y, t, n);
}

// at(column, i, j): element i of column j.
template <class Load>
CF_INLINE void adjoint(Load at, const float* dy, size_t pixel, float* z, size_t k_stride) {
  vf half[24];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    vf d[4], o[6];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) d[i] = at(dy, i, j);
    dy = here(dy + pixel);
    adjoint6(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i * 4 + j] = o[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    vf o[6];
    adjoint6(half + i * 4, o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(z + static_cast<size_t>(j) * k_stride, o[j]);
    z = here(z + 6 * k_stride);
  }
}

}  // namespace

void winograd_output(const float* m, size_t k_stride, size_t channels, const float* bias, float* y, const WinogradTile& t) {
  const size_t whole = t.bottom == 4 && t.right == 4 ? channels / kWidth * kWidth : 0;
  for (size_t c = 0; c < whole; c += kWidth) output<true>(m + c, k_stride, bias ? load(bias + c) : vf{}, y + c, t, kWidth);
  for (size_t c = whole; c < channels; c += kWidth) {
    const int n = channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(channels - c) : kWidth;
    output<false>(m + c, k_stride, bias ? load_first(bias + c, n) : vf{}, y + c, t, n);
  }
}

void winograd_output_adjoint(const float* dy, const WinogradTile& t, size_t channels, float* z, size_t k_stride) {
  const size_t whole = t.bottom == 4 && t.right == 4 ? channels / kWidth * kWidth : 0, row = t.row;
  for (size_t c = 0; c < whole; c += kWidth)
    adjoint([&](const float* column, int i, int) __attribute__((always_inline)) { return load(column + static_cast<size_t>(i) * row); }, dy + c, t.pixel, z + c,
            k_stride);
  for (size_t c = whole; c < channels; c += kWidth) {
    const int n = channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(channels - c) : kWidth;
    adjoint([&](const float* column, int i, int j) { return i < t.bottom && j < t.right ? load_first(column + static_cast<size_t>(i) * row, n) : vf{}; }, dy + c,
            t.pixel, z + c, k_stride);
  }
}

}  // namespace cf::cpu::CF_ISA
