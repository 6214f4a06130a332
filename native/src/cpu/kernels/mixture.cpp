#include "cpu/kernels/mixture.h"

#include "cpu/kernels/mixture_core.h"
#include "cpu/kernels/mixture_tile.h"

namespace cf::cpu::CF_ISA {

void mixture_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch) {
  const MixtureShape& shape = args.shape;
  const MixtureScratch s = cut_scratch(shape, scratch);
  for (size_t index = begin; index < end; ++index) {
    const MixtureTile t = mixture_tile(shape, index);
    load_tile(t, args.p, s.tile);
    repeat_channels(t, args.rescale, s.rescale);
    for (size_t v = 0; v < t.vectors(); ++v) {
      const size_t at = v * kWidth;
      prefetch_next(t, args.p, v);
      const vf x = load_elements(t, args.x, v);
      const Components c = components_at(shape, s, v);
      const Sums sums = sums_at<false>(x, c);
      const Logs l = logs_of(x, c, sums);
      const vf a = load(s.rescale + at) * vtanh(load(s.tile + at));
      store_elements(t, args.y, v, (l.logit + load(s.tile + t.stride + at)) * vexp(a));
      store(s.sums + at, l.slope + a);
    }
    args.logdet[index] = sum_elements(s.sums, t.count);
  }
}

}  // namespace cf::cpu::CF_ISA
