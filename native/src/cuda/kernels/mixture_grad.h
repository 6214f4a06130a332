// Gradient of the mixture coupling; cpu/kernels/mixture_grad.cpp has the formulas. One reading of the parameters, one writing of their gradients.
#pragma once
#include "cuda/kernels/mixture.h"

#if defined(CF_KERNEL)
namespace cf::cuda {

/// Gradients by ln F, ln(1 − F) and ln F′.
struct LogGrads {
  float f, g, p;
};

/// Writes a component's gradients; returns its part of dx. A clamped scale has no gradient.
__device__ __forceinline__ float put(const MixtureArgs& a, const Element& at, const Components& c, int j, float dlogit, float dz, float z, float share_p) {
  const float dx = dz * c.inv_scale[j] * kLn2;
  const uint32_t k = at.part + j * kLanes;
  if (at.there && (kComponents % kLanes == 0 || k < kComponents)) {
    float* to = a.dp + at.record + uint64_t{2} * a.channels;
    to[k * a.channels] = dlogit;
    to[(k + kComponents) * a.channels] = -dx;
    to[(k + 2 * kComponents) * a.channels] = c.log_scales[j] >= kMinLogScale ? -(dz * z + share_p) : 0.0f;
  }
  return dx;
}

__device__ __forceinline__ float near_grads(const MixtureArgs& a, const Element& at, float x, const Components& c, const Sums& s, const LogGrads& d, const float* up,
                                            const float* down) {
  const float by_f = d.f / s.f, by_g = d.g / s.g, by_p = d.p / s.p, by_total = (d.f + d.g + d.p) / c.total;
  float dx = 0.0f;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const float w = c.weight[j], t = c.inv_scale[j], both = w * up[j] * down[j], pt = by_p * t;
    const float dz = both * (pt * (down[j] - up[j]) + (by_f - by_g)), share_p = both * pt;
    const float dlogit = w * (up[j] * by_f + (down[j] * by_g - by_total)) + share_p;
    dx += put(a, at, c, j, dlogit, dz, (x - c.means[j]) * t * kLn2, share_p);
  }
  return dx;
}

/// The same in far tails and deep gaps, where a share must be formed relative to the largest term.
__device__ __forceinline__ float far_grads(const MixtureArgs& a, const Element& at, float x, const Components& c, const FarSums& s, const LogGrads& d) {
  const float all = (d.f + d.g + d.p) / c.total, base = smaller(s.max_f, s.max_g);
  float dx = 0.0f;
  for (int j = 0; j < kEach; ++j) {
    const FarTerm r = far_term(x, c, j);
    const float tail = r.up * exp2f(-fabsf(r.zz)), up = r.zz < 0.0f ? tail : r.up, down = r.zz < 0.0f ? r.up : tail;
    const float share_f = d.f * (exp2f(r.log_f - s.max_f) * r.up / s.f), share_g = d.g * (exp2f(r.log_g - s.max_g) * r.up / s.g);
    const float share_p = d.p * (exp2f(far_log_p(r, base) - s.max_p) * r.up * r.up / s.p);
    const float dz = share_f * down - share_g * up + share_p * (down - up);
    dx += put(a, at, c, j, share_f + share_g + share_p - all * c.weight[j], dz, r.zz * kLn2, share_p);
  }
  return dx;
}

}  // namespace cf::cuda

CF_KERNEL(const cf::cuda::MixtureArgs a) {
  using namespace cf::cuda;
  const float dlogdet = a.dlogdet[blockIdx.x];
  for (uint32_t round = 0; round < a.rounds; ++round) {
    const Element at = element_at(a, round);
    const float x = a.x[at.at], dy = a.dy[at.at], gate = tanhf(a.p[at.record]), b = a.p[at.record + a.channels], rescale = a.rescale[at.channel];
    const Components c = components_of(a, at);
    float up[kEach], down[kEach];
    const Sums s = sums_at(x, c, up, down);
    const float db = dy * expf(rescale * gate);
    const LogGrads d{db - dlogdet, -db - dlogdet, dlogdet};
    const bool far = too_far(s, c.total);
    float logit = logf(s.f / s.g), dx = 0.0f;
    if (any_of_warp(far)) {
      const FarSums precise = far_sums(x, c);
      if (far) {
        logit = far_logs(precise, c).logit;
        dx = far_grads(a, at, x, c, precise, d);
      }
    }
    if (!far) dx = near_grads(a, at, x, c, s, d, up, down);
    dx = all_lanes_sum(dx);
    if (at.part != 0 || !at.there) continue;
    const float da = db * (logit + b) + dlogdet;
    a.y[at.at] = dx;
    a.dp[at.record] = da * rescale * (1.0f - gate * gate);
    a.dp[at.record + a.channels] = db;
    a.shares[at.at] = da * gate;
  }
}
#endif
