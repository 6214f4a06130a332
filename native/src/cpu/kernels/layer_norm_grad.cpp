// With h = (x − mean)·inv_std and g = dy·gain: dx = inv_std·(g − mean(g) − h·mean(g·h)), dgain = Σ dy·h, dbias = Σ dy over the rows.
#include "cpu/kernels/layer_norm.h"
#include "cpu/kernels/layer_norm_core.h"

namespace cf::cpu::CF_ISA {

void layer_norm_grad_rows(const LayerNormArgs& args, size_t begin, size_t end, float* block, double* sums) {
  const size_t n = args.channels, padded = (n + 15) / 16 * 16;
  constexpr size_t kBlock = 64;  // rows summed in float before they enter the sums in double
  for (size_t first = begin; first < end; first += kBlock) {
    const size_t last = first + kBlock < end ? first + kBlock : end;
    for (size_t i = 0; i < 2 * padded; ++i) block[i] = 0.0f;
    for (size_t row = first; row < last; ++row) {
      const float *x = args.x + row * n, *dy = args.dy + row * n;
      float* dx = args.dx + row * n;
      const Moments m = moments(x, n, args.eps);
      const vf mean = splat(m.mean), inv_std = splat(m.inv_std);
      vf sum_g = vf{}, sum_gh = vf{};
      along(n, [&](size_t i, int lanes) __attribute__((always_inline)) {
        const vf h = (get(x + i, lanes) - mean) * inv_std, d = get(dy + i, lanes), g = d * get(args.gain + i, lanes);
        sum_g += g;
        sum_gh = fma(g, h, sum_gh);  // lanes behind the end have g = 0
        store(block + i, fma(d, h, load(block + i)));
        store(block + padded + i, d + load(block + padded + i));
      });
      const vf mean_g = splat(hsum(sum_g) / static_cast<float>(n)), mean_gh = splat(hsum(sum_gh) / static_cast<float>(n));
      along(n, [&](size_t i, int lanes) __attribute__((always_inline)) {
        const vf h = (get(x + i, lanes) - mean) * inv_std, g = get(dy + i, lanes) * get(args.gain + i, lanes);
        put(dx + i, (g - fma(h, mean_gh, mean_g)) * inv_std, lanes);
      });
    }
    for (size_t i = 0; i < n; ++i) {
      sums[i] += block[i];
      sums[n + i] += block[padded + i];
    }
  }
}

}  // namespace cf::cpu::CF_ISA
