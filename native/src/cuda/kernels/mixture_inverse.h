// Solves logit F(x) = y·e^−a − b by Newton's method inside a bracket, as cpu/kernels/mixture_inverse.cpp does; the parameters are read once and stay in registers.
#pragma once
#include "cuda/kernels/mixture.h"

#if defined(CF_KERNEL)
namespace cf::cuda {

/// Leaves the sums at x there.
__device__ __forceinline__ float solve(const Components& c, float target, Sums& at_x) {
  // Component k alone would give μ + e^s·target; the mixture's x lies between the smallest and the largest of these, and near their weighted mean.
  float low = INFINITY, high = -INFINITY, x = 0.0f;
  const float scaled = target * kLog2e;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const float alone = c.means[j] + scaled / c.inv_scale[j];
    if (c.logits[j] > -INFINITY) low = smaller(low, alone), high = larger(high, alone);
    x += c.weight[j] * alone;
  }
  low = all_lanes_min(low), high = all_lanes_max(high), x = all_lanes_sum(x) / c.total;
  const float margin = (fabsf(low) + fabsf(high)) * 1.0e-6f + 1.0e-30f;
  low -= margin, high += margin;
  // The residual that float32 sums can be trusted to.
  const float tolerance = fabsf(target) * 2.5e-7f + 1.0e-6f;
  float last = high - low, up[kEach], down[kEach];
  bool done = false;
  for (int i = 0; i < 100; ++i) {
    at_x = sums_at(x, c, up, down);
    const float residual = logf(at_x.f / at_x.g) - target, slope = at_x.p * c.total / (at_x.f * at_x.g) * kLn2, newton = residual / slope;
    if (residual < 0.0f) low = x;
    if (residual > 0.0f) high = x;
    // Newton can cycle inside its bracket, so each step must also be at most half of the last.
    const float tried = x - newton;
    const bool take = tried > low && tried < high && fabsf(newton) * 2.0f <= last;
    const float next = take ? tried : low + (high - low) * 0.5f, step = fabsf(next - x);
    // Converged: the residual is noise, or the step is too small for float32; or NaN, which nothing will change.
    done = done || !(fabsf(residual) > tolerance) || !(step > fabsf(x) * 6.0e-8f);
    // Shuffles need the whole warp: who is done waits for the others.
    if (!any_of_warp(!done)) break;
    last = step;
    if (!done) x = next;
  }
  return x;
}

}  // namespace cf::cuda

CF_KERNEL(const cf::cuda::MixtureArgs a) {
  using namespace cf::cuda;
  constexpr float kBound = 11.5129155f;  // logit(1 − 1e-5)
  double logdet = 0.0;
  for (uint32_t round = 0; round < a.rounds; ++round) {
    const Element at = element_at(a, round);
    const Components c = components_of(a, at);
    const float gate = a.rescale[at.channel] * tanhf(a.p[at.record]), logit = a.x[at.at] * expf(-gate) - a.p[at.record + a.channels];
    Sums sums;
    const float x = solve(c, smaller(kBound, larger(-kBound, logit)), sums);
    const Logs l = logs_of(x, c, sums);
    if (at.part != 0 || !at.there) continue;
    a.y[at.at] = x;
    // softplus(v) + softplus(−v) = |v| + 2·ln(1 + e^−|v|)
    const float size = fabsf(logit);
    logdet -= (gate + size) + (2.0f * log1pf(expf(-size)) + l.density);
  }
  put_logdet(a, logdet);
}
#endif
