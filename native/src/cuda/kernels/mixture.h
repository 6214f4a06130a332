// The distribution behind the mixture coupling: sums over the components of one element, and the logarithms of F, 1 − F and F′ from both tails. The arithmetic
// of cpu/kernels/mixture_core.h, where the reasons for its form stand.
//
// CF_LANES lanes of a warp (a power of two) share an element, at most eight components each, which stay in registers for all passes over them; sums cross lanes by
// shuffles. Component k is lane (k mod CF_LANES)'s: neighbouring components, and neighbouring elements, are then read by one instruction.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct MixtureArgs {
  const float* x;  ///< [images, elements]; for the inverse: y
  const float* p;  ///< [images, pixels, 2 + 3K, channels]
  const float* rescale;
  const float* dy;       ///< gradient only, like the next
  const float* dlogdet;  ///< [images]
  float* y;              ///< for the inverse: x; for the gradient: dx
  float* dp;             ///< gradient only
  float* shares;         ///< gradient only: each element's part of drescale
  double* partial;       ///< [images, blocks of an image]: parts of logdet, when an image has several blocks
  float* logdet;         ///< when it has one
  uint32_t elements, channels;  ///< of an image
  uint32_t rounds;              ///< groups of elements that a block goes through
};

#if defined(CF_KERNEL)

constexpr int kComponents = CF_K, kLanes = CF_LANES, kEach = (CF_K + CF_LANES - 1) / CF_LANES;
constexpr unsigned kBlockElements = 256 / CF_LANES;
constexpr float kLog2e = 1.44269504f, kLog2Log2e = 0.528766373f, kLn2 = 0.693147181f, kMinLogScale = -7.0f;

/// Sums over the lanes of an element; all of them get the same bits, since a + b = b + a.
__device__ __forceinline__ float all_lanes_sum(float v) {
  CF_UNROLL
  for (int m = 32 / kLanes; m < 32; m *= 2) v += __shfl_xor_sync(kWholeWarp, v, m);
  return v;
}
// Comparisons that keep NaN in `b`.
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }
__device__ __forceinline__ float smaller(float a, float b) { return a < b ? a : b; }
__device__ __forceinline__ float all_lanes_max(float v) {
  CF_UNROLL
  for (int m = 32 / kLanes; m < 32; m *= 2) v = larger(__shfl_xor_sync(kWholeWarp, v, m), v);
  return v;
}
__device__ __forceinline__ float all_lanes_min(float v) {
  CF_UNROLL
  for (int m = 32 / kLanes; m < 32; m *= 2) v = smaller(__shfl_xor_sync(kWholeWarp, v, m), v);
  return v;
}
__device__ __forceinline__ bool any_of_warp(bool a) { return __ballot_sync(kWholeWarp, a) != 0; }

/// What a thread works on: lanes of one element are 32 / CF_LANES apart, so that neighbours are neighbouring elements.
struct Element {
  uint32_t index;  ///< in its image; the last one for threads that have none
  uint32_t part;     ///< lane of the element
  bool there;
  uint64_t at;      ///< of the element in x
  uint64_t record;  ///< of its first parameter in p
  uint32_t channel;
};
__device__ __forceinline__ Element element_at(const MixtureArgs& a, uint32_t round) {
  constexpr uint32_t kAcross = 32 / kLanes;
  const uint32_t lane = threadIdx.x % 32, wanted = (blockIdx.y * a.rounds + round) * kBlockElements + threadIdx.x / 32 * kAcross + lane % kAcross;
  Element p;
  p.part = lane / kAcross, p.there = wanted < a.elements;
  p.index = p.there ? wanted : a.elements - 1;
  p.at = uint64_t{blockIdx.x} * a.elements + p.index;
  const uint32_t pixel = p.index / a.channels;
  p.channel = p.index - pixel * a.channels;
  p.record = (uint64_t{blockIdx.x} * (a.elements / a.channels) + pixel) * a.channels * (2 + 3 * kComponents) + p.channel;
  return p;
}

/// A lane's components. Those behind the last have weight 0.
struct Components {
  float logits[kEach], means[kEach], log_scales[kEach];
  float weight[kEach], inv_scale[kEach];  ///< w = 2^((logit − largest)·log₂e), t = e^−s·log₂e
  float largest, total;                   ///< largest logit; Σw
};

__device__ __forceinline__ Components components_of(const MixtureArgs& a, const Element& p) {
  Components c;
  const float* at = a.p + p.record + uint64_t{2} * a.channels;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const uint32_t k = p.part + j * kLanes;
    const bool there = kComponents % kLanes == 0 || k < kComponents;
    c.logits[j] = there ? at[k * a.channels] : -INFINITY;
    c.means[j] = there ? at[(k + kComponents) * a.channels] : 0.0f;
    c.log_scales[j] = there ? at[(k + 2 * kComponents) * a.channels] : 0.0f;
  }
  float largest = c.logits[0];
  CF_UNROLL
  for (int j = 1; j < kEach; ++j) largest = larger(c.logits[j], largest);
  c.largest = all_lanes_max(largest);
  float total = 0.0f;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    c.weight[j] = exp2f((c.logits[j] - c.largest) * kLog2e);
    c.inv_scale[j] = exp2f(larger(kMinLogScale, c.log_scales[j]) * -kLog2e + kLog2Log2e);
    total += c.weight[j];
  }
  c.total = all_lanes_sum(total);
  return c;
}

/// Σ w·σ(z), Σ w·σ(−z), Σ w·σ(z)·σ(−z)·t.
struct Sums {
  float f, g, p;
};
/// up, down: σ(z) and σ(−z) of each component.
__device__ __forceinline__ Sums sums_at(float x, const Components& c, float* up, float* down) {
  Sums s{0.0f, 0.0f, 0.0f};
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const float e = exp2f(smaller(100.0f, (c.means[j] - x) * c.inv_scale[j]));
    up[j] = 1.0f / (e + 1.0f), down[j] = e * up[j];
    const float f = c.weight[j] * up[j], g = f * e;
    s.f += f, s.g += g, s.p += g * up[j] * c.inv_scale[j];
  }
  return {all_lanes_sum(s.f), all_lanes_sum(s.g), all_lanes_sum(s.p)};
}

/// Are the sums too small to be trusted? NaN included.
__device__ __forceinline__ bool too_far(const Sums& s, float total) {
  const float least = total * 8.5e-22f;
  return !(s.f >= least && s.g >= least && s.p >= total * 5.4e-20f);
}

/// logit F = ln F − ln(1 − F), the logarithm of its slope, ln F′.
struct Logs {
  float logit, slope, density;
};

/// In the far tails and in deep gaps: every sum relative to its largest term. Base-2 logarithms.
struct FarSums {
  float max_f, max_g, max_p;  ///< max_p relative to the smaller of the others
  float f, g, p;
};
struct FarTerm {
  float log_f, log_g, log_t, up, zz;
};
__device__ __forceinline__ FarTerm far_term(float x, const Components& c, int j) {
  FarTerm r;
  const float log_w = (c.logits[j] - c.largest) * kLog2e;
  r.zz = (x - c.means[j]) * c.inv_scale[j];
  r.log_f = log_w + smaller(0.0f, r.zz);
  r.log_g = log_w - larger(0.0f, r.zz);
  r.log_t = larger(kMinLogScale, c.log_scales[j]) * -kLog2e + kLog2Log2e;
  r.up = 1.0f / (1.0f + exp2f(-fabsf(r.zz)));
  return r;
}
__device__ __forceinline__ float far_log_p(const FarTerm& r, float base) { return r.log_t + (smaller(r.log_f, r.log_g) - base); }

__device__ __forceinline__ FarSums far_sums(float x, const Components& c) {
  FarSums s;
  float f = -INFINITY, g = -INFINITY, p = -INFINITY;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const FarTerm r = far_term(x, c, j);
    f = larger(f, r.log_f), g = larger(g, r.log_g);
  }
  s.max_f = all_lanes_max(f), s.max_g = all_lanes_max(g);
  const float base = smaller(s.max_f, s.max_g);
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) p = larger(p, far_log_p(far_term(x, c, j), base));
  s.max_p = all_lanes_max(p);
  f = g = p = 0.0f;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const FarTerm r = far_term(x, c, j);
    f += exp2f(r.log_f - s.max_f) * r.up;
    g += exp2f(r.log_g - s.max_g) * r.up;
    p += exp2f(far_log_p(r, base) - s.max_p) * r.up * r.up;
  }
  s.f = all_lanes_sum(f), s.g = all_lanes_sum(g), s.p = all_lanes_sum(p);
  return s;
}
__device__ __forceinline__ Logs far_logs(const FarSums& s, const Components& c) {
  const float max_p = s.max_p - kLog2Log2e;
  Logs l;
  l.logit = (s.max_f - s.max_g) * kLn2 + logf(s.f / s.g);
  l.slope = (max_p - larger(s.max_f, s.max_g)) * kLn2 + logf(s.p / s.f * (c.total / s.g));
  l.density = (max_p + smaller(s.max_f, s.max_g)) * kLn2 + logf(s.p / c.total);
  return l;
}

__device__ __forceinline__ Logs logs_of(float x, const Components& c, const Sums& s) {
  const float p = s.p * kLn2;
  Logs l{logf(s.f / s.g), logf(p / s.f * (c.total / s.g)), logf(p / c.total)};
  const bool far = too_far(s, c.total);
  // Shuffles need the whole warp: all of its elements go along.
  if (any_of_warp(far)) {
    const Logs precise = far_logs(far_sums(x, c), c);
    if (far) l = precise;
  }
  return l;
}

/// Sum of the block's terms, to where the image's logarithm of the determinant or its parts are kept: a tree that depends on nothing else.
__device__ __forceinline__ void put_logdet(const MixtureArgs& a, double term) {
  __shared__ double warps[8];
  CF_UNROLL
  for (int m = 16; m > 0; m /= 2) term += __shfl_xor_sync(kWholeWarp, term, m);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = term;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0.0;
  for (int w = 0; w < 8; ++w) sum += warps[w];
  if (gridDim.y == 1) a.logdet[blockIdx.x] = static_cast<float>(sum);
  else a.partial[uint64_t{blockIdx.x} * gridDim.y + blockIdx.y] = sum;
}

#endif

}  // namespace cf::cuda
