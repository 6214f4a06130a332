// The arithmetic of reductions. Sums run in float lanes over short stretches and in double across them.
#pragma once
#include <cstddef>

#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct Reduction {
  /// acc[i] = acc[i] ∘ x[i] ∘ x[period + i] ∘ …, `times` of them.
  void (*fold)(float* acc, const float* x, size_t period, size_t times);
  /// All of x[0, n).
  double (*row)(const float* x, size_t n);
  /// total[i] = total[i] ∘ acc[i]; acc[i] = identity.
  void (*flush)(double* total, float* acc, size_t n);
  double identity;
  double (*join)(double a, double b);
};

}  // namespace cf::cpu

CF_DECLARE(Reduction sum_reduction(); Reduction max_reduction();)
