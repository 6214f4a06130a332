// The small matrix products of attention. kV: vectors in a row of scores.
#pragma once
#include "cpu/kernels/attention.h"
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

/// out[r][c] += Σi p[r][i]·b[i][c] for kR rows and kC vectors of channels; rows of p are `lanes` floats of which `count` are read, rows of b and out `padded`.
template <int kR, int kC>
CF_INLINE void spread_tile(const float* p, size_t lanes, size_t count, const float* b, size_t padded, float* out) {
  vf sum[kR][kC];
  for (int r = 0; r < kR; ++r)
    for (int c = 0; c < kC; ++c) sum[r][c] = load(out + static_cast<size_t>(r) * padded + c * kWidth);
  for (size_t i = 0; i < count; ++i) {
    vf x[kC];
    for (int c = 0; c < kC; ++c) x[c] = load(b + i * padded + static_cast<size_t>(c) * kWidth);
    for (int r = 0; r < kR; ++r) {
      const vf w = splat(p[static_cast<size_t>(r) * lanes + i]);
      for (int c = 0; c < kC; ++c) sum[r][c] = fma(w, x[c], sum[r][c]);
    }
  }
  for (int r = 0; r < kR; ++r)
    for (int c = 0; c < kC; ++c) store(out + static_cast<size_t>(r) * padded + c * kWidth, sum[r][c]);
}
template <int kR, int kC>
CF_INLINE void spread_rows(const float* p, size_t rows, size_t lanes, size_t count, const float* b, size_t padded, float* out) {
  size_t r = 0;
  for (; r + kR <= rows; r += kR) spread_tile<kR, kC>(p + r * lanes, lanes, count, b, padded, out + r * padded);
  for (; r < rows; ++r) spread_tile<1, kC>(p + r * lanes, lanes, count, b, padded, out + r * padded);
}
[[maybe_unused]] static __attribute__((noinline)) void spread(const float* p, size_t rows, size_t lanes, size_t count, const float* b, size_t padded, float* out) {
  size_t left = padded / kWidth, at = 0;
  // Enough sums at once to hide the latency of a multiply-add, few enough for 16 registers.
  for (; left >= 3; left -= 3, at += 3 * kWidth) spread_rows<4, 3>(p, rows, lanes, count, b + at, padded, out + at);
  if (left == 2) spread_rows<4, 2>(p, rows, lanes, count, b + at, padded, out + at);
  if (left == 1) spread_rows<8, 1>(p, rows, lanes, count, b + at, padded, out + at);
}

/// dst[r][c] = src[r][c]·scale, rows of d floats.
CF_INLINE void copy_rows(const float* src, size_t stride, size_t rows, size_t d, float scale, float* dst) {
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < d; ++c) dst[r * d + c] = src[r * stride + c] * scale;
}
/// dst[c][lane] = src[lane][c]·scale, lanes from `rows` on are 0.
CF_INLINE void transpose_rows(const float* src, size_t stride, size_t rows, size_t d, float scale, size_t lanes, float* dst) {
  for (size_t c = 0; c < d; ++c) {
    for (size_t i = 0; i < rows; ++i) dst[c * lanes + i] = src[i * stride + c] * scale;
    for (size_t i = rows; i < lanes; ++i) dst[c * lanes + i] = 0.0f;
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
