// Walking along a row whose length need not be a multiple of the vector width, and its mean and variance.
#pragma once
#include "cpu/kernels/layer_norm.h"
#include "cpu/kernels/vmath.h"

namespace cf::cpu::CF_ISA {

/// f(offset, lanes in use) for each vector of n elements; whole vectors first.
template <class F>
CF_INLINE void along(size_t n, F&& f) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) f(i, kWidth);
  if (i < n) f(i, static_cast<int>(n - i));
}
CF_INLINE vf get(const float* p, int lanes) { return lanes == kWidth ? load(p) : load_first(p, lanes); }
CF_INLINE void put(float* p, vf v, int lanes) {
  if (lanes == kWidth)
    store(p, v);
  else
    store_first(p, v, lanes);
}

struct Moments {
  float mean, inv_std;
};
/// Two passes: the variance is of differences from the mean, so large means cost no precision.
CF_INLINE Moments moments(const float* x, size_t n, float eps) {
  vf sum = vf{};
  along(n, [&](size_t i, int lanes) __attribute__((always_inline)) { sum += get(x + i, lanes); });
  Moments m;
  m.mean = hsum(sum) / static_cast<float>(n);
  const vf mean = splat(m.mean);
  vf squares = vf{};
  along(n, [&](size_t i, int lanes) __attribute__((always_inline)) {
    vf d = get(x + i, lanes) - mean;
    if (lanes != kWidth) d = select(first_lanes(lanes), d, vf{});
    squares = fma(d, d, squares);
  });
  m.inv_std = 1.0f / __builtin_sqrtf(hsum(squares) / static_cast<float>(n) + eps);
  return m;
}

}  // namespace cf::cpu::CF_ISA
