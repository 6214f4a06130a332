#include "cpu/kernels/layer_norm.h"

#include "cpu/kernels/layer_norm_core.h"

namespace cf::cpu::CF_ISA {

void layer_norm_rows(const LayerNormArgs& args, size_t begin, size_t end) {
  const size_t n = args.channels;
  for (size_t row = begin; row < end; ++row) {
    const float* x = args.x + row * n;
    float* y = args.y + row * n;
    const Moments m = moments(x, n, args.eps);
    const vf mean = splat(m.mean), inv_std = splat(m.inv_std);
    along(n, [&](size_t i, int lanes) __attribute__((always_inline)) {
      const vf scaled = (get(x + i, lanes) - mean) * inv_std;
      put(y + i, fma(scaled, get(args.gain + i, lanes), get(args.bias + i, lanes)), lanes);
    });
  }
}

}  // namespace cf::cpu::CF_ISA
