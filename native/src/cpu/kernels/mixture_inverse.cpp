#include "cpu/kernels/mixture.h"
#include "cpu/kernels/mixture_core.h"
#include "cpu/kernels/mixture_tile.h"

namespace cf::cpu::CF_ISA {
namespace {

/// Solves logit F(x) = target in every lane by Newton's method inside a bracket; returns x and leaves the sums there.
CF_INLINE vf solve(const Components& c, vf target, Sums& at_x) {
  // Component k alone would give μ + e^s·target; the mixture's x lies between the smallest and the largest of these, and near their weighted mean.
  vf low = splat(kInf), high = splat(-kInf), x = vf{};
  const vf scaled = target * splat(kLog2e);
  for (size_t k = 0; k < c.count; ++k) {
    const vf alone = load(c.means + k * c.stride) + scaled / load(c.inv_scale + k * kWidth);
    low = vmin(low, alone);
    high = vmax(high, alone);
    x = fma(load(c.weight + k * kWidth), alone, x);
  }
  x = x / c.total;
  const vf margin = (vabs(low) + vabs(high)) * splat(1.0e-6f) + splat(1.0e-30f);
  low -= margin;
  high += margin;
  // The residual that float32 sums can be trusted to.
  const vf tolerance = fma(vabs(target), splat(2.5e-7f), splat(1.0e-6f));
  vf last = high - low;
  vi done = vi{};
  for (int i = 0; i < 100; ++i) {
    at_x = sums_at<false>(x, c);
    const vf residual = vlog(at_x.f / at_x.g) - target;
    const vf slope = at_x.p * c.total / (at_x.f * at_x.g) * splat(kLn2);
    const vf newton = residual / slope;
    low = select(residual < vf{}, x, low);
    high = select(residual > vf{}, x, high);
    // Newton can cycle inside its bracket, so each step must also be at most half of the last.
    const vf tried = x - newton;
    const vi take = (tried > low) & (tried < high) & (vabs(newton) * splat(2.0f) <= last);
    const vf next = select(take, tried, low + (high - low) * splat(0.5f));
    const vf step = vabs(next - x);
    // Converged: the residual is noise, or the step is too small for float32; or NaN, which nothing will change.
    done |= ~(vabs(residual) > tolerance) | ~(step > vabs(x) * splat(6.0e-8f));
    if (!any(~done)) break;
    last = step;
    x = select(done, x, next);
  }
  return x;
}

}  // namespace

void mixture_inverse_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch) {
  const MixtureShape& shape = args.shape;
  const MixtureScratch s = cut_scratch(shape, scratch);
  const vf bound = splat(11.5129155f);  // logit(1 − 1e-5)
  for (size_t index = begin; index < end; ++index) {
    const MixtureTile t = mixture_tile(shape, index);
    load_tile(t, args.p, s.tile);
    repeat_channels(t, args.rescale, s.rescale);
    for (size_t v = 0; v < t.vectors(); ++v) {
      const size_t at = v * kWidth;
      prefetch_next(t, args.p, v);
      const Components c = components_at(shape, s, v);
      const vf a = load(s.rescale + at) * vtanh(load(s.tile + at));
      const vf logit = load_elements(t, args.x, v) * vexp(-a) - load(s.tile + t.stride + at);
      Sums sums;
      const vf x = solve(c, vmin(bound, vmax(-bound, logit)), sums);
      store_elements(t, args.y, v, x);
      const Logs l = logs_of(x, c, sums);
      // softplus(v) + softplus(−v) = |v| + 2·ln(1 + e^−|v|)
      const vf size = vabs(logit);
      store(s.sums + at, -((a + size) + fma(splat(2.0f), log1p_inner(vexp(-size)), l.density)));
    }
    args.logdet[index] = sum_elements(s.sums, t.count);
  }
}

}  // namespace cf::cpu::CF_ISA
