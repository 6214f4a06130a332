// The small matrix products of attention. kV: vectors in a row of scores.
#pragma once
#include "cpu/kernels/attention.h"
#include "cpu/kernels/transpose.h"
#include "cpu/kernels/vmath.h"

namespace cf::cpu::CF_ISA {

/// finish(row, sums) for kR rows, where sums[lane] = start(row)[lane] + Σc a[row][c]·bt[c][lane]; a has rows of d floats, bt rows of kV vectors. Sums are finished
/// in registers, without a way through memory.
template <int kR, int kV, class Start, class Finish>
CF_INLINE void score_rows(const float* a, size_t first, const float* bt, size_t d, const Start& start, const Finish& finish) {
  vf sum[kR][kV];
  for (int r = 0; r < kR; ++r)
    for (int v = 0; v < kV; ++v) sum[r][v] = start(first + static_cast<size_t>(r), v);
  a += first * d;
  for (size_t c = 0; c < d; ++c) {
    vf b[kV];
    for (int v = 0; v < kV; ++v) b[v] = load(bt + (c * kV + static_cast<size_t>(v)) * kWidth);
    for (int r = 0; r < kR; ++r) {
      const vf x = splat(a[static_cast<size_t>(r) * d + c]);
      for (int v = 0; v < kV; ++v) sum[r][v] = fma(x, b[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kR; ++r) finish(first + static_cast<size_t>(r), sum[r]);
}
template <int kV, class Start, class Finish>
CF_INLINE void scores(const float* a, size_t begin, size_t end, const float* bt, size_t d, const Start& start, const Finish& finish) {
  size_t r = begin;
  for (; r + 4 <= end; r += 4) score_rows<4, kV>(a, r, bt, d, start, finish);
  for (; r < end; ++r) score_rows<1, kV>(a, r, bt, d, start, finish);
}

/// ct[c][lane] += Σr a[r][c]·p[r][lane] for kC channels.
template <int kC, int kV>
CF_INLINE void gather_rows(const float* a, const float* p, size_t rows, size_t d, float* ct) {
  vf sum[kC][kV];
  for (int c = 0; c < kC; ++c)
    for (int v = 0; v < kV; ++v) sum[c][v] = load(ct + (c * kV + v) * kWidth);
  for (size_t r = 0; r < rows; ++r) {
    vf b[kV];
    for (int v = 0; v < kV; ++v) b[v] = load(p + (r * kV + static_cast<size_t>(v)) * kWidth);
    for (int c = 0; c < kC; ++c) {
      const vf x = splat(a[r * d + static_cast<size_t>(c)]);
      for (int v = 0; v < kV; ++v) sum[c][v] = fma(x, b[v], sum[c][v]);
    }
  }
  for (int c = 0; c < kC; ++c)
    for (int v = 0; v < kV; ++v) store(ct + (c * kV + v) * kWidth, sum[c][v]);
}
/// A function of its own: the constants that a softmax around it keeps in registers would push out the sums.
template <int kV>
static __attribute__((noinline)) void gather(const float* a, const float* p, size_t rows, size_t d, float* ct) {
  size_t c = 0;
  for (; d - c >= 12 || d - c == 6; c += 6) gather_rows<6, kV>(a + c, p, rows, d, ct + c * kV * kWidth);
  for (; c + 4 <= d; c += 4) gather_rows<4, kV>(a + c, p, rows, d, ct + c * kV * kWidth);
  for (; c < d; ++c) gather_rows<1, kV>(a + c, p, rows, d, ct + c * kV * kWidth);
}

/// Floats in a row of channels: whole strips.
CF_INLINE size_t channel_row(size_t d) { return (d + kStrip - 1) / kStrip * kStrip; }

/// out[r][c] += Σi p[r][i]·b[i][c] for kR rows, and kC vectors of channels and a strip if kTail; rows of p are `lanes` floats of which `count` are read, rows of b
/// and out `row`.
template <int kR, int kC, bool kTail>
CF_INLINE void spread_tile(const float* p, size_t lanes, size_t count, const float* b, size_t row, float* out) {
  vf sum[kR][kC + 1];
  vs tail[kR];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sum[r][c] = load(out + static_cast<size_t>(r) * row + c * kWidth);
    if (kTail) tail[r] = load_strip(out + static_cast<size_t>(r) * row + kC * kWidth);
  }
  for (size_t i = 0; i < count; ++i) {
    vf x[kC + 1];
    vs y{};
    for (int c = 0; c < kC; ++c) x[c] = load(b + i * row + static_cast<size_t>(c) * kWidth);
    if (kTail) y = load_strip(b + i * row + kC * kWidth);
    for (int r = 0; r < kR; ++r) {
      const float w = p[static_cast<size_t>(r) * lanes + i];
      for (int c = 0; c < kC; ++c) sum[r][c] = fma(splat(w), x[c], sum[r][c]);
      if (kTail) tail[r] = fma_strip(splat_strip(w), y, tail[r]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) store(out + static_cast<size_t>(r) * row + c * kWidth, sum[r][c]);
    if (kTail) store_strip(out + static_cast<size_t>(r) * row + kC * kWidth, tail[r]);
  }
}
template <int kR, int kC, bool kTail>
CF_INLINE void spread_rows(const float* p, size_t rows, size_t lanes, size_t count, const float* b, size_t row, float* out) {
  size_t r = 0;
  for (; r + kR <= rows; r += kR) spread_tile<kR, kC, kTail>(p + r * lanes, lanes, count, b, row, out + r * row);
  for (; r < rows; ++r) spread_tile<1, kC, kTail>(p + r * lanes, lanes, count, b, row, out + r * row);
}
[[maybe_unused]] static __attribute__((noinline)) void spread(const float* p, size_t rows, size_t lanes, size_t count, const float* b, size_t row, float* out) {
  size_t left = row / kWidth, at = 0;
  // Enough sums at once to hide the latency of a multiply-add, few enough for 16 registers.
  for (; left >= 3; left -= 3, at += 3 * kWidth) spread_rows<4, 3, false>(p, rows, lanes, count, b + at, row, out + at);
  if (row % kWidth == 0) {
    if (left == 2) spread_rows<4, 2, false>(p, rows, lanes, count, b + at, row, out + at);
    if (left == 1) spread_rows<8, 1, false>(p, rows, lanes, count, b + at, row, out + at);
  } else {
    if (left == 2) spread_rows<4, 2, true>(p, rows, lanes, count, b + at, row, out + at);
    if (left == 1) spread_rows<8, 1, true>(p, rows, lanes, count, b + at, row, out + at);
    if (left == 0) spread_rows<8, 0, true>(p, rows, lanes, count, b + at, row, out + at);
  }
}

/// to[r][c] = from[r][c]·scale for d channels; what is left of a row of `to` becomes 0.
CF_INLINE void copy_rows(const float* from, size_t stride, size_t rows, size_t d, float scale, float* to, size_t row) {
  for (size_t r = 0; r < rows; ++r, from += stride, to += row) {
    size_t c = 0;
    for (; c + kStrip <= d; c += kStrip) store_strip(to + c, load_strip(from + c) * splat_strip(scale));
    for (; c < d; ++c) to[c] = from[c] * scale;
    for (; c < row; ++c) to[c] = 0.0f;
  }
}
/// to[c][lane] = from[lane][c]·scale; lanes from `rows` on become 0.
CF_INLINE void to_lanes(const float* from, size_t stride, size_t rows, size_t d, float scale, size_t lanes, float* to) {
  transpose(from, stride, rows, d, scale, to, lanes);
  for (size_t c = 0; rows < lanes && c < d; ++c)
    for (size_t i = rows; i < lanes; ++i) to[c * lanes + i] = 0.0f;
}

/// to[r] = Σc a[r][c]·b[r][c]; rows of both are `stride` floats apart.
CF_INLINE void row_products(const float* a, const float* b, size_t stride, size_t rows, size_t d, float* to) {
  size_t r = 0;
#if defined(CF_SHUFFLES)
  for (; d % 8 == 0 && r + 8 <= rows; r += 8) {
    vs sum[8], turned[8];
    for (size_t k = 0; k < 8; ++k) {
      const float *x = a + (r + k) * stride, *y = b + (r + k) * stride;
      sum[k] = load_strip(x) * load_strip(y);
      for (size_t c = 8; c < d; c += 8) sum[k] = fma_strip(load_strip(x + c), load_strip(y + c), sum[k]);
    }
    transpose8(sum, turned);
    store_strip(to + r, ((turned[0] + turned[1]) + (turned[2] + turned[3])) + ((turned[4] + turned[5]) + (turned[6] + turned[7])));
  }
#endif
  for (; r < rows; ++r) {
    float sum = 0.0f;
    for (size_t c = 0; c < d; ++c) sum += a[r * stride + c] * b[r * stride + c];
    to[r] = sum;
  }
}

/// The 32 bits of a stream of `count` words that begin with bit `at`; what is behind the stream is 0.
CF_INLINE uint32_t stream_bits(const uint32_t* words, size_t count, size_t at) {
  const size_t w = at / 32, shift = at % 32;
  const uint64_t above = w + 1 < count ? words[w + 1] : 0;
  return static_cast<uint32_t>((above << 32 | words[w]) >> shift);
}

/// Hands out pieces of a scratch area, each aligned like it.
struct Pieces {
  float* at;
  inline __attribute__((always_inline)) float* take(size_t n) {
    float* p = at;
    at += attention_padded(n);
    return p;
  }
};

}  // namespace cf::cpu::CF_ISA
