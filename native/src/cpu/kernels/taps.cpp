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

// The channels of a pixel. Of few, a whole vector would mostly fetch what nobody wants, and cross cache lines for it.
struct Many {
  using V = vf;
  static V at(const float* p) { return load(p); }
  static void put(float* to, V v, size_t channels) { store_first(to, v, static_cast<int>(channels)); }
};
struct Few {
  typedef float V __attribute__((vector_size(16)));
  typedef float Any __attribute__((vector_size(16), aligned(4), may_alias));
  static V at(const float* p) { return *reinterpret_cast<const Any*>(p); }
  static void put(float* to, V v, size_t channels) {
    for (size_t c = 0; c < channels; ++c) to[c] = v[c];
  }
};

// R rows of 3 taps, stride 1: without a question, nine additions a pixel inside and six at the ends.
template <class Channels, int R>
void row_of_three(const TapRows& t, size_t width, float* dx) {
  const size_t back = t.pixel - t.channels;
  const float* p[R];  // the middle tap of pixel x
  typename Channels::V sum{};
  for (int r = 0; r < R; ++r) {
    p[r] = t.rows[r] + t.channels;
    sum += Channels::at(p[r]) + Channels::at(p[r] + back);
    p[r] += t.pixel;
  }
  Channels::put(dx, sum, t.channels);
  for (size_t x = 1; x < width - 1; ++x) {
    sum = typename Channels::V{};
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      sum += Channels::at(p[r] + back) + Channels::at(p[r]) + Channels::at(p[r] - back);
      p[r] += t.pixel;
    }
    Channels::put(dx + x * t.channels, sum, t.channels);
  }
  sum = typename Channels::V{};
  for (int r = 0; r < R; ++r) sum += Channels::at(p[r]) + Channels::at(p[r] - back);
  Channels::put(dx + (width - 1) * t.channels, sum, t.channels);
}

template <class Channels>
void of_three(const TapRows& t, size_t width, float* dx) {
  if (t.count == 3) row_of_three<Channels, 3>(t, width, dx);
  else if (t.count == 2) row_of_three<Channels, 2>(t, width, dx);
  else row_of_three<Channels, 1>(t, width, dx);
}

}  // namespace

void sum_taps(const TapRows& t, size_t width, float* dx) {
  const bool common = t.stride == 1 && t.taps == 3 && t.padding == 1 && t.channels <= static_cast<size_t>(kWidth) && width > 2 && t.pixels == width && t.count > 0;
  if (!common) {
    for (size_t x = 0; x < width; ++x) edge(t, x, dx);
    return;
  }
  if (t.channels <= 4) of_three<Few>(t, width, dx);
  else of_three<Many>(t, width, dx);
}

}  // namespace cf::cpu::CF_ISA
