#include "cpu/kernels/gemm.h"
#include "cpu/kernels/tiles.h"
#include "cpu/kernels/transpose.h"
#include "cpu/kernels/vec.h"
#include "cpu/kernels/winograd.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr size_t kPanel = panel_width(Isa::CF_ISA);

// G w
CF_INLINE void weights6(const vf w[3], vf o[6]) {
  const vf a = (w[0] + w[2]) * splat(-1.0f / 6), b = w[1] * splat(1.0f / 6);
  const vf c = fma(w[2], splat(4), w[0]) * splat(1.0f / 24), d = w[1] * splat(1.0f / 12);
  o[0] = w[0] * splat(0.25f);
  o[1] = a - b;
  o[2] = a + b;
  o[3] = c + d;
  o[4] = c - d;
  o[5] = w[2];
}

// Gᵀ m
CF_INLINE void adjoint3(const vf m[6], vf o[3]) {
  const vf a = (m[1] + m[2]) * splat(1.0f / 6), b = (m[2] - m[1]) * splat(1.0f / 6), c = m[3] + m[4], d = m[3] - m[4];
  o[0] = fma(m[0], splat(0.25f), fma(c, splat(1.0f / 24), -a));
  o[1] = fma(d, splat(1.0f / 12), b);
  o[2] = fma(c, splat(1.0f / 6), m[5] - a);
}

// taps[9][kWidth] to kWidth groups of nine.
CF_INLINE void interleave(const float* taps, float* to) {
#if defined(CF_SHUFFLES)
  for (int first = 0; first < kWidth; first += 8, to += 72) {
    vs rows[8], groups[8];
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) __builtin_memcpy(&rows[t], taps + t * kWidth + first, sizeof(vs));
    transpose8(rows, groups);
#pragma GCC unroll 8
    for (int l = 0; l < 8; ++l) {
      __builtin_memcpy(to + l * 9, &groups[l], sizeof(vs));
      to[l * 9 + 8] = taps[8 * kWidth + first + l];  // the ninth fills the gaps between the rows
    }
  }
#else
  for (int l = 0; l < kWidth; ++l)
    for (int t = 0; t < 9; ++t) to[l * 9 + t] = taps[t * kWidth + l];
#endif
}

// `lanes` groups of nine, lane_stride apart, to taps[9][kPanel]; turned: the nine backwards.
CF_INLINE void gather(const float* from, size_t lanes, size_t lane_stride, bool turned, float* taps) {
  size_t l = 0;
#if defined(CF_SHUFFLES)
  for (; l + 8 <= lanes; l += 8) {
    vs groups[8], rows[8];
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; ++k) __builtin_memcpy(&groups[k], from + (l + k) * lane_stride, sizeof(vs));
    transpose8(groups, rows);
#pragma GCC unroll 8
    for (size_t t = 0; t < 8; ++t) __builtin_memcpy(taps + (turned ? 8 - t : t) * kPanel + l, &rows[t], sizeof(vs));
    for (size_t k = 0; k < 8; ++k) taps[(turned ? 0 : 8) * kPanel + l + k] = from[(l + k) * lane_stride + 8];
  }
#endif
  for (; l < lanes; ++l)
    for (size_t t = 0; t < 9; ++t) taps[(turned ? 8 - t : t) * kPanel + l] = from[l * lane_stride + t];
}

// A few channels are made side by side and then written plane by plane: the 36 planes lie a multiple of a page apart, so that writing a vector to each in turn
// would throw every line out of the first-level cache before its second vector comes.
constexpr size_t kGroup = 8, kPlane = kGroup * kPanel;
constexpr size_t kSplit = kPanel < 16 ? kPanel : 16;  // columns whose parts are written together

// G w Gᵀ of a panel of produced channels, by summed channel.
class Filters {
 public:
  Filters(const float* w, size_t o, size_t i, bool data_grad, size_t first)
      : turned_(data_grad),
        summed_(data_grad ? o : i),
        produced_(data_grad ? i : o),
        lanes_(first > produced_ ? 0 : produced_ - first < kPanel ? produced_ - first : kPanel),
        lane_stride_(data_grad ? 9 : i * 9),
        channel_stride_(data_grad ? i * 9 : 9),
        w_(w + first * lane_stride_) {}
  size_t summed() const { return summed_; }
  size_t produced() const { return produced_; }

  /// tile[k·kPlane + lane] of channel c; zero for channels and lanes that are not there.
  void transform(size_t c, float* tile) const {
    if (c >= summed_) {
      for (size_t k = 0; k < 36; ++k)
        for (size_t l = 0; l < kPanel; l += kWidth) store(tile + k * kPlane + l, vf{});
      return;
    }
    alignas(64) float taps[9 * kPanel];
    if (lanes_ < kPanel) __builtin_memset(taps, 0, sizeof taps);
    gather(w_ + c * channel_stride_, lanes_, lane_stride_, turned_, taps);
    for (size_t l = 0; l < kPanel; l += kWidth) {
      vf half[18];
#pragma GCC unroll 3
      for (size_t j = 0; j < 3; ++j) {
        const vf d[3] = {load(taps + j * kPanel + l), load(taps + (3 + j) * kPanel + l), load(taps + (6 + j) * kPanel + l)};
        vf t[6];
        weights6(d, t);
#pragma GCC unroll 6
        for (size_t k = 0; k < 6; ++k) half[k * 3 + j] = t[k];
      }
#pragma GCC unroll 6
      for (size_t k = 0; k < 6; ++k) {
        vf t[6];
        weights6(half + k * 3, t);
#pragma GCC unroll 6
        for (size_t j = 0; j < 6; ++j) store(tile + (k * 6 + j) * kPlane + l, t[j]);
      }
    }
  }

 private:
  bool turned_;
  size_t summed_, produced_, lanes_, lane_stride_, channel_stride_;
  const float* w_;
};

}  // namespace

void winograd_weights(const float* w, size_t o, size_t i, bool data_grad, size_t panel, size_t c0, size_t c1, float* u) {
  const Filters filters(w, o, i, data_grad, panel * kPanel);
  const size_t a = (filters.summed() + 15) / 16 * 16, k_stride = a * ((filters.produced() + 31) / 32 * 32);
  // What is larger than a cache's share goes past the caches: reading lines in only to overwrite them would cost as much as the writing.
  constexpr size_t kCached = 8u << 20;
  const bool past = 36 * k_stride * sizeof(float) > kCached && reinterpret_cast<uintptr_t>(u) % 64 == 0;
  alignas(64) float tile[36 * kPlane];
  for (size_t c = c0; c < c1; c += kGroup) {
    const size_t group = c1 - c < kGroup ? c1 - c : kGroup;
    for (size_t g = 0; g < group; ++g) filters.transform(c + g, tile + g * kPanel);
    float* const to = u + (panel * a + c) * kPanel;
    for (size_t k = 0; k < 36; ++k)
      for (size_t l = 0; l < group * kPanel; l += kWidth) {
        const vf v = load(tile + k * kPlane + l);
        past ? stream(to + k * k_stride + l, v) : store(to + k * k_stride + l, v);
      }
  }
  if (past) fence_streams();
}

void winograd_weights_split(const float* w, size_t o, size_t i, bool data_grad, size_t panel, size_t block, char* u) {
  const size_t columns = 32 / kPanel, first = panel * 32;
  const size_t blocks = ((data_grad ? o : i) + kDeep - 1) / kDeep, panels = ((data_grad ? i : o) + 31) / 32, plane = panels * blocks * 2 * kBlock;
  char* const to = u + (panel * blocks + block) * 2 * kBlock;
  alignas(64) float tile[36 * kPlane];
  for (size_t p = 0; p < columns; ++p) {
    const Filters filters(w, o, i, data_grad, first + p * kPanel);
    for (size_t r = 0; r < 16; r += kGroup / 2) {
      // Channels r and r + 16 of the block lie side by side in a tile.
      for (size_t g = 0; g < kGroup; ++g) filters.transform(block * kDeep + r + g / 2 + g % 2 * 16, tile + g * kPanel);
      for (size_t k = 0; k < 36; ++k)
        for (size_t g = 0; g < kGroup; g += 2)
          for (size_t l = 0; l < kPanel; l += kSplit) {
            const float* const from = tile + k * kPlane + g * kPanel + l;
            const size_t column = p * kPanel + l;
            split<kSplit>([&](size_t n) { return load(from + n); }, [&](size_t n) { return load(from + kPanel + n); },
                          to + k * plane + column / 16 * kBlock + (r + g / 2) * 64 + column % 16 * 4);
          }
    }
  }
}

void winograd_weights_adjoint(const float* m, size_t k_stride, size_t channels, float* dw) {
  for (size_t c = 0; c < channels; c += kWidth) {
    const size_t n = channels - c < static_cast<size_t>(kWidth) ? channels - c : kWidth;
    vf half[18];
#pragma GCC unroll 6
    for (size_t j = 0; j < 6; ++j) {
      vf d[6], t[3];
#pragma GCC unroll 6
      for (size_t i = 0; i < 6; ++i) d[i] = load(m + (i * 6 + j) * k_stride + c);
      adjoint3(d, t);
#pragma GCC unroll 3
      for (size_t i = 0; i < 3; ++i) half[i * 6 + j] = t[i];
    }
    float taps[9 * kWidth];
#pragma GCC unroll 3
    for (size_t i = 0; i < 3; ++i) {
      vf t[3];
      adjoint3(half + i * 6, t);
#pragma GCC unroll 3
      for (size_t j = 0; j < 3; ++j) store(taps + (i * 3 + j) * kWidth, t[j]);
    }
    float* to = dw + c * 9;
    if (n == static_cast<size_t>(kWidth)) {
      interleave(taps, to);
    } else {
      for (size_t l = 0; l < n; ++l)
        for (size_t t = 0; t < 9; ++t) to[l * 9 + t] = taps[t * kWidth + l];
    }
  }
}

}  // namespace cf::cpu::CF_ISA
