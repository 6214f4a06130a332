// Gradient of the mixture coupling. With A, B, D the gradients by ln F, ln(1 − F), ln F′ and r the responsibilities (each term's share of its sum):
//   dlogit = A·rF + B·rG + D·rP − (A + B + D)·softmax
//   dz = A·rF·σ(−z) − B·rG·σ(z) + D·rP·(σ(−z) − σ(z)),   dμ = −dz·e^−s,   dx = Σ dz·e^−s,   ds = −dz·z − D·rP.
#include "cpu/kernels/mixture.h"
#include "cpu/kernels/mixture_core.h"
#include "cpu/kernels/mixture_tile.h"

namespace cf::cpu::CF_ISA {
namespace {

struct LogGrads {
  vf f, g, p;
};

/// Where the gradients of the components go: the rows that hold their values.
struct GradRows {
  float *logits, *means, *log_scales;
};

/// Returns the component's part of dx.
CF_INLINE vf put(const Components& c, const GradRows& out, size_t k, vf dlogit, vf dz, vf z, vf share_p, vf t) {
  const vf dx = dz * t * splat(kLn2);
  // Read before the gradient takes its place. A clamped scale has no gradient.
  const vi free = load(c.log_scales + k * c.stride) >= splat(kMinLogScale);
  store(out.logits + k * c.stride, dlogit);
  store(out.means + k * c.stride, -dx);
  store(out.log_scales + k * c.stride, select(free, -fma(dz, z, share_p), vf{}));
  return dx;
}

/// Returns dx.
CF_INLINE vf near_grads(vf x, const Components& c, const Sums& s, const LogGrads& d, const float* above, const float* below, const GradRows& out) {
  const vf by_f = d.f / s.f, by_g = d.g / s.g, by_p = d.p / s.p, by_total = (d.f + d.g + d.p) / c.total;
  vf dx = vf{};
  for (size_t k = 0; k < c.count; ++k) {
    const vf w = load(c.weight + k * kWidth), t = load(c.inv_scale + k * kWidth);
    const vf up = load(above + k * kWidth), down = load(below + k * kWidth);
    const vf both = w * up * down, pt = by_p * t;
    const vf dz = both * fma(pt, down - up, by_f - by_g);
    const vf share_p = both * pt;
    const vf dlogit = fma(w, fma(up, by_f, fma(down, by_g, -by_total)), share_p);
    const vf z = (x - load(c.means + k * c.stride)) * t * splat(kLn2);
    dx += put(c, out, k, dlogit, dz, z, share_p, t);
  }
  return dx;
}

/// The same for lanes in far tails and deep gaps, where a share must be formed relative to the largest term. Right everywhere, but slower.
__attribute__((noinline)) void far_grads(const vf* x, const Components& c, const LogGrads& d, const GradRows& out, vf* dx) {
  const FarSums s = far_sums(*x, c);
  const vf all = (d.f + d.g + d.p) / c.total;
  const vf base = vmin(s.max_f, s.max_g);
  *dx = vf{};
  for (size_t k = 0; k < c.count; ++k) {
    const FarTerm r = far_term(*x, c, k);
    const vf tail = r.up * exp2_clamped(-vabs(r.zz));
    const vf up = select(r.zz < vf{}, tail, r.up), down = select(r.zz < vf{}, r.up, tail);
    const vf share_f = d.f * (exp2_clamped(r.log_f - s.max_f) * r.up / s.f);
    const vf share_g = d.g * (exp2_clamped(r.log_g - s.max_g) * r.up / s.g);
    const vf share_p = d.p * (exp2_clamped(far_log_p(r, base) - s.max_p) * r.up * r.up / s.p);
    const vf dz = share_f * down - share_g * up + share_p * (down - up);
    const vf dlogit = share_f + share_g + share_p - all * load(c.weight + k * kWidth);
    *dx += put(c, out, k, dlogit, dz, r.zz * splat(kLn2), share_p, load(c.inv_scale + k * kWidth));
  }
}

}  // namespace

void mixture_grad_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch, double* drescale) {
  const MixtureShape& shape = args.shape;
  const MixtureScratch s = cut_scratch(shape, scratch);
  float *above = s.local[2], *below = s.local[3];
  for (size_t index = begin; index < end; ++index) {
    const MixtureTile t = mixture_tile(shape, index);
    load_tile(t, args.p, s.tile);
    repeat_channels(t, args.rescale, s.rescale);
    const vf dlogdet = splat(args.dlogdet[t.image]);
    for (size_t v = 0; v < t.vectors(); ++v) {
      const size_t at = v * kWidth;
      prefetch_next(t, args.p, v);
      const vf x = load_elements(t, args.x, v), dy = load_elements(t, args.dy, v);
      const Components c = components_at(shape, s, v);
      const Sums sums = sums_at<true>(x, c, above, below);
      const Logs l = logs_of(x, c, sums);
      const vf rescale = load(s.rescale + at), gate = vtanh(load(s.tile + at));
      float* b = s.tile + t.stride + at;
      const vf ea = vexp(rescale * gate), db = dy * ea;
      const vf da = fma(db, l.logit + load(b), dlogdet);
      store(b, db);
      store(s.tile + at, da * rescale * fnma(gate, gate, splat(1.0f)));
      store(s.sums + at, da * gate);
      const LogGrads d{db - dlogdet, -db - dlogdet, dlogdet};
      float* rows = s.tile + at + 2 * t.stride;
      const GradRows out{rows, rows + c.count * t.stride, rows + 2 * c.count * t.stride};
      vf dx;
      if (any(too_far(sums, c.total)))
        far_grads(&x, c, d, out, &dx);
      else
        dx = near_grads(x, c, sums, d, above, below, out);
      store_elements(t, args.y, v, dx);
    }
    store_tile(t, s.tile, args.dp);
    for (size_t e = 0, ch = 0; e < t.count; ++e) {
      drescale[ch] += s.sums[e];
      ch = ch + 1 == t.channels ? 0 : ch + 1;
    }
  }
}

}  // namespace cf::cpu::CF_ISA
