#include "cpu/kernels/gemm.h"
#include "cpu/kernels/vec.h"
#include "cpu/kernels/winograd.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr size_t kPanel = panel_width(Isa::CF_ISA);

// Bᵀ d for a column or a row of a tile.
CF_INLINE void input6(const vf d[6], vf o[6]) {
  const vf a = fnma(splat(4), d[2], d[4]), b = fnma(splat(4), d[1], d[3]);
  const vf c = d[4] - d[2], t = d[3] - d[1], e = t + t;
  o[0] = fma(splat(4), d[0], fnma(splat(5), d[2], d[4]));
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + e;
  o[4] = c - e;
  o[5] = fma(splat(4), d[1], fnma(splat(5), d[3], d[5]));
}

// Columns, then rows. With 32 registers three rows of the half-way result stay in them, so that half of them at a time is made and the tile loaded twice; with
// fewer it goes through the first-level cache, all at once.
#if defined(CF_VEC_AVX512)
constexpr int kRowsAtOnce = 3;
#else
constexpr int kRowsAtOnce = 6;
#endif

template <int kFirst, class Load>
CF_INLINE void transform_rows(Load at, const float* x, size_t pixel, float* v, size_t k_stride) {
  vf half[kRowsAtOnce * 6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    vf d[6], o[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = at(x, i, j);
    x = here(x + pixel);
    input6(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < kRowsAtOnce; ++i) half[i * 6 + j] = o[kFirst + i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRowsAtOnce; ++i) {
    vf o[6];
    input6(half + i * 6, o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(v + static_cast<size_t>(j) * k_stride, o[j]);
    v += 6 * k_stride;
  }
}

// at(column, i, j): element i of column j.
template <class Load>
CF_INLINE void transform(Load at, const float* x, size_t pixel, float* v, size_t k_stride) {
  transform_rows<0>(at, x, pixel, v, k_stride);
  if constexpr (kRowsAtOnce < 6) transform_rows<kRowsAtOnce % 6>(at, x, pixel, v + kRowsAtOnce * 6 * k_stride, k_stride);
}

// A tile whose first row and column, or last, may lie outside the image, all others inside. Which do is known when this is compiled: most tiles of small images
// touch the border, and asking at each load would take longer than the arithmetic.
template <bool kTop, bool kBottom, bool kLeft, bool kRight>
void border(const float* x, size_t row, size_t pixel, size_t channels, float* v, size_t k_stride, size_t block) {
  for (size_t c = 0; c < channels; c += kWidth)
    transform(
        [&](const float* column, int i, int j) __attribute__((always_inline)) {
          if ((kTop && i == 0) || (kBottom && i == 5) || (kLeft && j == 0) || (kRight && j == 5)) return vf{};
          return load(column + static_cast<size_t>(i) * row);
        },
        x + c, pixel, v + c / kPanel * block + c % kPanel, k_stride);
}

using Border = void (*)(const float*, size_t, size_t, size_t, float*, size_t, size_t);
template <bool kTop, bool kBottom>
constexpr Border kSides[4] = {border<kTop, kBottom, false, false>, border<kTop, kBottom, true, false>, border<kTop, kBottom, false, true>,
                              border<kTop, kBottom, true, true>};

// Any tile and number of channels.
void general(const float* x, const WinogradTile& t, size_t first, size_t channels, float* v, size_t k_stride, size_t block) {
  for (size_t c = first; c < channels; c += kWidth) {
    const int n = channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(channels - c) : kWidth;
    transform(
        [&](const float* column, int i, int j) {
          if (i < t.top || i >= t.bottom || j < t.left || j >= t.right) return vf{};
          return load_first(column + static_cast<size_t>(i) * t.row, n);
        },
        x + c, t.pixel, v + c / kPanel * block + c % kPanel, k_stride);
  }
}

}  // namespace

void winograd_input(const float* x, const WinogradTile& t, size_t channels, float* v, size_t k_stride, size_t block) {
  if (t.top > 1 || t.bottom < 5 || t.left > 1 || t.right < 5) return general(x, t, 0, channels, v, k_stride, block);
  const size_t whole = channels / kWidth * kWidth;
  const Border* const sides = t.top ? (t.bottom < 6 ? kSides<true, true> : kSides<true, false>) : t.bottom < 6 ? kSides<false, true> : kSides<false, false>;
  sides[t.left + 2 * (t.right < 6)](x, t.row, t.pixel, whole, v, k_stride, block);
  general(x, t, whole, channels, v, k_stride, block);
}

}  // namespace cf::cpu::CF_ISA
