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

// Columns, then rows; the half-way result fits the first-level cache, not the registers.
template <class Load>
CF_INLINE void transform(Load at, float* v, size_t k_stride) {
  vf half[36];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    vf d[6], o[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = at(i, j);
    input6(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i * 6 + j] = o[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    vf o[6];
    input6(half + i * 6, o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(v + static_cast<size_t>(i * 6 + j) * k_stride, o[j]);
  }
}

}  // namespace

void winograd_input(const float* x, const WinogradTile& t, size_t channels, float* v, size_t k_stride, size_t block) {
  const bool inside = t.top == 0 && t.left == 0 && t.bottom == 6 && t.right == 6;
  const size_t row = t.row, pixel = t.pixel;
  for (size_t c = 0; c < channels; c += kWidth) {
    float* to = v + c / kPanel * block + c % kPanel;
    if (channels - c < static_cast<size_t>(kWidth)) {
      const int n = static_cast<int>(channels - c);
      transform(
          [&](int i, int j) {
            if (i < t.top || i >= t.bottom || j < t.left || j >= t.right) return vf{};
            return load_first(x + static_cast<size_t>(i) * row + static_cast<size_t>(j) * pixel + c, n);
          },
          to, k_stride);
    } else if (inside) {
      transform([&](int i, int j) { return load(x + static_cast<size_t>(i) * row + static_cast<size_t>(j) * pixel + c); }, to, k_stride);
    } else {
      transform(
          [&](int i, int j) {
            if (i < t.top || i >= t.bottom || j < t.left || j >= t.right) return vf{};
            return load(x + static_cast<size_t>(i) * row + static_cast<size_t>(j) * pixel + c);
          },
          to, k_stride);
    }
  }
}

}  // namespace cf::cpu::CF_ISA
