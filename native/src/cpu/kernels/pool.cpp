#include "cpu/kernels/pool.h"

#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

void pool_pairs(const float* from, size_t pairs, size_t channels, float* to, size_t to_pixel, bool add) {
  for (size_t q = 0; q < pairs; ++q, from += 2 * channels, to += to_pixel) {
    size_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) {
      const vf sum = load(from + c) + load(from + channels + c);
      store(to + c, add ? load(to + c) + sum : sum);
    }
    if (c == channels) continue;
    const int n = static_cast<int>(channels - c);
    const vf sum = load_first(from + c, n) + load_first(from + channels + c, n);
    store_first(to + c, add ? load_first(to + c, n) + sum : sum, n);
  }
}

}  // namespace cf::cpu::CF_ISA
