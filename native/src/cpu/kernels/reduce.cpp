#include "cpu/kernels/reduce.h"

#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr size_t kStretch = 64 * kWidth;  // per float lane: 64 additions

struct Sum {
  static constexpr float identity = 0;
  CF_INLINE vf join(vf a, vf b) { return a + b; }
  static double join(double a, double b) { return a + b; }
  CF_INLINE double across(vf v) {
    double s = 0;
    for (int i = 0; i < kWidth; ++i) s += static_cast<double>(v[i]);
    return s;
  }
};

struct Max {
  static constexpr float identity = -__builtin_inff();
  CF_INLINE vf join(vf a, vf b) { return vmax_nan(a, b); }
  static double join(double a, double b) { return a != a || a > b ? a : b; }
  CF_INLINE double across(vf v) {
    double m = static_cast<double>(v[0]);
    for (int i = 1; i < kWidth; ++i) m = join(m, static_cast<double>(v[i]));
    return m;
  }
};

template <class R>
void fold(float* acc, const float* x, size_t period, size_t times) {
  size_t i = 0;
  for (; i + 4 * kWidth <= period; i += 4 * kWidth) {
    vf a0 = load(acc + i), a1 = load(acc + i + kWidth), a2 = load(acc + i + 2 * kWidth), a3 = load(acc + i + 3 * kWidth);
    for (size_t t = 0; t < times; ++t) {
      const float* p = x + t * period + i;
      a0 = R::join(a0, load(p)), a1 = R::join(a1, load(p + kWidth)), a2 = R::join(a2, load(p + 2 * kWidth)), a3 = R::join(a3, load(p + 3 * kWidth));
    }
    store(acc + i, a0), store(acc + i + kWidth, a1), store(acc + i + 2 * kWidth, a2), store(acc + i + 3 * kWidth, a3);
  }
  for (; i < period; i += kWidth) {
    const int n = static_cast<int>(period - i < kWidth ? period - i : kWidth);
    vf a = load_first(acc + i, n);
    for (size_t t = 0; t < times; ++t) a = R::join(a, load_first(x + t * period + i, n));
    store_first(acc + i, a, n);
  }
}

template <class R>
double row(const float* x, size_t n) {
  if (n < kWidth) {
    double s = static_cast<double>(R::identity);
    for (size_t i = 0; i < n; ++i) s = R::join(s, static_cast<double>(x[i]));
    return s;
  }
  double total = static_cast<double>(R::identity);
  const vf none = splat(R::identity);
  for (size_t begin = 0; begin < n; begin += 4 * kStretch) {
    const size_t end = n - begin < 4 * kStretch ? n : begin + 4 * kStretch;
    vf a0 = none, a1 = none, a2 = none, a3 = none;
    size_t i = begin;
    for (; i + 4 * kWidth <= end; i += 4 * kWidth)
      a0 = R::join(a0, load(x + i)), a1 = R::join(a1, load(x + i + kWidth)), a2 = R::join(a2, load(x + i + 2 * kWidth)), a3 = R::join(a3, load(x + i + 3 * kWidth));
    for (; i + kWidth <= end; i += kWidth) a0 = R::join(a0, load(x + i));
    if (i < end) {
      const int m = static_cast<int>(end - i);
      a1 = R::join(a1, select(first_lanes(m), load_first(x + i, m), none));
    }
    total = R::join(total, R::across(R::join(R::join(a0, a1), R::join(a2, a3))));
  }
  return total;
}

template <class R>
void flush(double* total, float* acc, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    total[i] = R::join(total[i], static_cast<double>(acc[i]));
    acc[i] = R::identity;
  }
}

}  // namespace

Reduction sum_reduction() { return {fold<Sum>, row<Sum>, flush<Sum>, 0.0, Sum::join}; }
Reduction max_reduction() { return {fold<Max>, row<Max>, flush<Max>, -__builtin_inf(), Max::join}; }

}  // namespace cf::cpu::CF_ISA
