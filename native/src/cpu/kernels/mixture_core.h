// The distribution of one vector of elements: sums over the components, and the logarithms of F, 1 − F and F′ from both tails.
//
// Everything is in base 2, where an exponential needs no range reduction: t = e^−s·log₂e, zz = (x − μ)·t, so that e^−z = 2^−zz.
#pragma once
#include "cpu/kernels/vmath.h"

namespace cf::cpu::CF_ISA {

constexpr float kLog2Log2e = 0.528766373f;
constexpr float kMinLogScale = -7.0f;

/// One vector's components: rows of the tile, and per-component vectors (contiguous) made from them.
struct Components {
  const float *logits, *means, *log_scales;  ///< rows `stride` floats apart
  size_t stride, count;
  float *weight, *inv_scale;  ///< w = 2^((logit − largest)·log₂e) and t
  vf largest, total;          ///< largest logit; Σw
};

CF_INLINE vf inv_scale_of(vf log_scale) {
  // log₂e goes into the exponent.
  return exp2_clamped(fma(vmax(splat(kMinLogScale), log_scale), splat(-kLog2e), splat(kLog2Log2e)));
}

CF_INLINE void prepare(Components& c) {
  c.largest = load(c.logits);
  for (size_t k = 1; k < c.count; ++k) c.largest = vmax(c.largest, load(c.logits + k * c.stride));
  c.total = vf{};
  for (size_t k = 0; k < c.count; ++k) {
    const vf w = exp2_clamped((load(c.logits + k * c.stride) - c.largest) * splat(kLog2e));
    c.total += w;
    store(c.weight + k * kWidth, w);
  }
  for (size_t k = 0; k < c.count; ++k) {
    store(c.inv_scale + k * kWidth, inv_scale_of(load(c.log_scales + k * c.stride)));
  }
}

/// Σ w·σ(z), Σ w·σ(−z), Σ w·σ(z)·σ(−z)·t.
struct Sums {
  vf f, g, p;
};

/// One exponential serves both tails: σ(z) = 1 / (1 + E), σ(−z) = E / (1 + E) with E = 2^−zz ≤ 2^100.
/// kKeep: puts σ(z) and σ(−z) of each component into above and below. (A loop of its own: made together with prepare(), there are too many values for 16
/// registers, and it is a fifth slower.)
template <bool kKeep>
CF_INLINE Sums sums_at(vf x, const Components& c, float* above = nullptr, float* below = nullptr) {
  Sums s{vf{}, vf{}, vf{}};
  for (size_t k = 0; k < c.count; ++k) {
    const vf t = load(c.inv_scale + k * kWidth), w = load(c.weight + k * kWidth);
    const vf e = exp2_clamped(vmin(splat(100.0f), (load(c.means + k * c.stride) - x) * t));
    const vf up = splat(1.0f) / (e + splat(1.0f));
    if (kKeep) {
      store(above + k * kWidth, up);
      store(below + k * kWidth, e * up);
    }
    const vf f = w * up, g = f * e;
    s.f += f;
    s.g += g;
    s.p = fma(g * up, t, s.p);
  }
  return s;
}

/// Lanes where the sums are too small to be trusted (the clamps at 2^100 and 2^-126 would show), NaN included.
CF_INLINE vi too_far(const Sums& s, vf total) {
  const vf least = total * splat(8.5e-22f);
  return ~((s.f >= least) & (s.g >= least) & (s.p >= total * splat(5.4e-20f)));
}

/// What the coupling needs of the distribution: logit F = ln F − ln(1 − F), the logarithm of its slope, ln F′ − ln F − ln(1 − F), and ln F′.
struct Logs {
  vf logit, slope, density;
};

/// In the far tails and in deep gaps: every sum relative to its largest term. Base-2 logarithms.
struct FarSums {
  vf max_f, max_g;
  vf max_p;  ///< relative to the smaller of max_f and max_g: both lose their large common part before any of it is rounded away
  vf f, g, p;
};
struct FarTerm {
  vf log_f, log_g, log_t;  ///< of the terms but for their denominators
  vf up, zz;               ///< 1 / (1 + 2^−|zz|)
};
CF_INLINE FarTerm far_term(vf x, const Components& c, size_t k) {
  FarTerm r;
  const vf log_w = (load(c.logits + k * c.stride) - c.largest) * splat(kLog2e);
  r.zz = (x - load(c.means + k * c.stride)) * load(c.inv_scale + k * kWidth);
  r.log_f = log_w + vmin(vf{}, r.zz);
  r.log_g = log_w - vmax(vf{}, r.zz);
  r.log_t = fma(vmax(splat(kMinLogScale), load(c.log_scales + k * c.stride)), splat(-kLog2e), splat(kLog2Log2e));
  r.up = splat(1.0f) / (splat(1.0f) + exp2_clamped(-vabs(r.zz)));
  return r;
}
/// Logarithm of a density term: t·w·2^−|zz| (but for its denominator), where w·2^−|zz| is the smaller of the other two.
CF_INLINE vf far_log_p(const FarTerm& r, vf base) { return r.log_t + (vmin(r.log_f, r.log_g) - base); }

CF_INLINE FarSums far_sums(vf x, const Components& c) {
  FarSums s;
  s.max_f = s.max_g = s.max_p = splat(-kInf);
  for (size_t k = 0; k < c.count; ++k) {
    const FarTerm r = far_term(x, c, k);
    s.max_f = vmax(s.max_f, r.log_f);
    s.max_g = vmax(s.max_g, r.log_g);
  }
  const vf base = vmin(s.max_f, s.max_g);
  for (size_t k = 0; k < c.count; ++k) s.max_p = vmax(s.max_p, far_log_p(far_term(x, c, k), base));
  s.f = s.g = s.p = vf{};
  for (size_t k = 0; k < c.count; ++k) {
    const FarTerm r = far_term(x, c, k);
    s.f = fma(exp2_clamped(r.log_f - s.max_f), r.up, s.f);
    s.g = fma(exp2_clamped(r.log_g - s.max_g), r.up, s.g);
    s.p = fma(exp2_clamped(far_log_p(r, base) - s.max_p), r.up * r.up, s.p);
  }
  return s;
}
static __attribute__((noinline)) void far_logs(const vf* x, const Components& c, Logs* out) {
  const FarSums s = far_sums(*x, c);
  const vf ln2 = splat(kLn2), max_p = s.max_p - splat(kLog2Log2e);
  out->logit = fma(s.max_f - s.max_g, ln2, vlog(s.f / s.g));
  out->slope = fma(max_p - vmax(s.max_f, s.max_g), ln2, vlog(s.p / s.f * (c.total / s.g)));
  out->density = fma(max_p + vmin(s.max_f, s.max_g), ln2, vlog(s.p / c.total));
}

CF_INLINE Logs logs_of(vf x, const Components& c, const Sums& s) {
  Logs l;
  const vf p = s.p * splat(kLn2);
  l.logit = vlog(s.f / s.g);
  l.slope = vlog(p / s.f * (c.total / s.g));
  l.density = vlog(p / c.total);
  const vi far = too_far(s, c.total);
  if (any(far)) {
    Logs precise;
    far_logs(&x, c, &precise);
    l.logit = select(far, precise.logit, l.logit);
    l.slope = select(far, precise.slope, l.slope);
    l.density = select(far, precise.density, l.density);
  }
  return l;
}

/// The scratch of one thread, cut up.
struct MixtureScratch {
  float *tile, *rescale, *sums, *extra[3];  ///< rows of a tile's elements
  float* local[5];                          ///< one vector per component
};
CF_INLINE MixtureScratch cut_scratch(const MixtureShape& s, float* scratch) {
  const size_t row = s.tile_stride();
  MixtureScratch r;
  r.tile = scratch;
  float* at = scratch + row * s.groups();
  r.rescale = at, r.sums = at + row;
  for (size_t i = 0; i < 3; ++i) r.extra[i] = at + (2 + i) * row;
  at += 5 * row;
  for (size_t i = 0; i < 5; ++i) r.local[i] = at + i * 16 * s.components;
  return r;
}
CF_INLINE Components components_at(const MixtureShape& s, const MixtureScratch& scratch, size_t v) {
  const size_t row = s.tile_stride(), k = s.components;
  const float* at = scratch.tile + v * kWidth;
  Components c;
  c.logits = at + 2 * row, c.means = at + (2 + k) * row, c.log_scales = at + (2 + 2 * k) * row;
  c.stride = row, c.count = k;
  c.weight = scratch.local[0], c.inv_scale = scratch.local[1];
  prepare(c);
  return c;
}

}  // namespace cf::cpu::CF_ISA
