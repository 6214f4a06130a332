#include "cpu/kernels/taps.h"

#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

// Any stride, any side: for each pixel the taps that reach it. A vector holds a pixel's channels, and whatever follows them.
void edge(const TapRows& t, size_t x, float* dx) {
  for (size_t c = 0; c < t.channels; c += kWidth) {
    vf sum{};
    for (size_t k = (x + t.padding) % t.stride; k < t.taps && k <= x + t.padding; k += t.stride) {
      const size_t o = (x + t.padding - k) / t.stride;
      if (o >= t.pixels) continue;
      for (size_t r = 0; r < t.count; ++r) sum += load(t.rows[r] + o * t.pixel + k * t.channels + c);
    }
    store_first(dx + x * t.channels + c, sum, t.channels - c < static_cast<size_t>(kWidth) ? static_cast<int>(t.channels - c) : kWidth);
  }
}

// Pixels [from, to), which all three taps of a 3-tap row of stride 1 reach: nine additions without a question.
template <int R>
void inside(const TapRows& t, size_t from, size_t to, float* dx) {
  const float* p[R];
  for (int r = 0; r < R; ++r) p[r] = t.rows[r] + (from + t.padding) * t.pixel;
  const size_t back = t.pixel - t.channels;
  for (size_t x = from; x < to; ++x) {
    vf sum{};
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      sum += load(p[r]) + load(p[r] - back) + load(p[r] - 2 * back);
      p[r] += t.pixel;
    }
    store_first(dx + x * t.channels, sum, static_cast<int>(t.channels));
  }
}

}  // namespace

void sum_taps(const TapRows& t, size_t width, float* dx) {
  const bool common = t.stride == 1 && t.taps == 3 && t.padding == 1 && t.channels <= static_cast<size_t>(kWidth) && width > 2 && t.pixels == width && t.count > 0;
  if (!common) {
    for (size_t x = 0; x < width; ++x) edge(t, x, dx);
    return;
  }
  edge(t, 0, dx);
  if (t.count == 3) inside<3>(t, 1, width - 1, dx);
  else if (t.count == 2) inside<2>(t, 1, width - 1, dx);
  else inside<1>(t, 1, width - 1, dx);
  edge(t, width - 1, dx);
}

}  // namespace cf::cpu::CF_ISA
