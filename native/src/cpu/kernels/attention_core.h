// The small matrix products of attention, and its dropout. kV: vectors of queries in a block.
#pragma once
#include "cpu/kernels/attention.h"
#include "cpu/kernels/dropout.h"
#include "cpu/kernels/vmath.h"

namespace cf::cpu::CF_ISA {

/// s[j][lane] = Σc a[j][c]·bt[c][lane] for kJ rows j; a has rows of d floats, bt and s rows of kV vectors.
template <int kJ, int kV>
CF_INLINE void score_rows(const float* a, const float* bt, size_t d, float* s) {
  vf sum[kJ][kV] = {};
  for (size_t c = 0; c < d; ++c) {
    vf b[kV];
    for (int v = 0; v < kV; ++v) b[v] = load(bt + (c * kV + v) * kWidth);
    for (int j = 0; j < kJ; ++j) {
      const vf x = splat(a[j * d + c]);
      for (int v = 0; v < kV; ++v) sum[j][v] = fma(x, b[v], sum[j][v]);
    }
  }
  for (int j = 0; j < kJ; ++j)
    for (int v = 0; v < kV; ++v) store(s + (j * kV + v) * kWidth, sum[j][v]);
}
template <int kV>
CF_INLINE void scores(const float* a, size_t rows, const float* bt, size_t d, float* s) {
  size_t j = 0;
  for (; j + 4 <= rows; j += 4) score_rows<4, kV>(a + j * d, bt, d, s + j * kV * kWidth);
  for (; j < rows; ++j) score_rows<1, kV>(a + j * d, bt, d, s + j * kV * kWidth);
}

/// ct[c][lane] += Σj a[j][c]·p[j][lane] for kC channels.
template <int kC, int kV>
CF_INLINE void gather_rows(const float* a, const float* p, size_t rows, size_t d, float* ct) {
  vf sum[kC][kV];
  for (int c = 0; c < kC; ++c)
    for (int v = 0; v < kV; ++v) sum[c][v] = load(ct + (c * kV + v) * kWidth);
  for (size_t j = 0; j < rows; ++j) {
    vf b[kV];
    for (int v = 0; v < kV; ++v) b[v] = load(p + (j * kV + v) * kWidth);
    for (int c = 0; c < kC; ++c) {
      const vf x = splat(a[j * d + c]);
      for (int v = 0; v < kV; ++v) sum[c][v] = fma(x, b[v], sum[c][v]);
    }
  }
  for (int c = 0; c < kC; ++c)
    for (int v = 0; v < kV; ++v) store(ct + (c * kV + v) * kWidth, sum[c][v]);
}
template <int kV>
CF_INLINE void gather(const float* a, const float* p, size_t rows, size_t d, float* ct) {
  size_t c = 0;
  for (; c + 4 <= d; c += 4) gather_rows<4, kV>(a + c, p, rows, d, ct + c * kV * kWidth);
  for (; c < d; ++c) gather_rows<1, kV>(a + c, p, rows, d, ct + c * kV * kWidth);
}

/// out[j][c] += Σi p[j][i]·b[i][c] for kJ keys and kC vectors of channels; rows of p are `lanes` floats, rows of b and out `padded`.
template <int kJ, int kC>
CF_INLINE void spread_rows(const float* p, size_t lanes, const float* b, size_t padded, float* out) {
  vf sum[kJ][kC];
  for (int j = 0; j < kJ; ++j)
    for (int c = 0; c < kC; ++c) sum[j][c] = load(out + j * padded + c * kWidth);
  for (size_t i = 0; i < lanes; ++i) {
    vf x[kC];
    for (int c = 0; c < kC; ++c) x[c] = load(b + i * padded + c * kWidth);
    for (int j = 0; j < kJ; ++j) {
      const vf w = splat(p[j * lanes + i]);
      for (int c = 0; c < kC; ++c) sum[j][c] = fma(w, x[c], sum[j][c]);
    }
  }
  for (int j = 0; j < kJ; ++j)
    for (int c = 0; c < kC; ++c) store(out + j * padded + c * kWidth, sum[j][c]);
}
template <int kJ, int kC>
CF_INLINE void spread_keys(const float* p, size_t rows, size_t lanes, const float* b, size_t padded, float* out) {
  size_t j = 0;
  for (; j + kJ <= rows; j += kJ) spread_rows<kJ, kC>(p + j * lanes, lanes, b, padded, out + j * padded);
  for (; j < rows; ++j) spread_rows<1, kC>(p + j * lanes, lanes, b, padded, out + j * padded);
}
CF_INLINE void spread(const float* p, size_t rows, size_t lanes, const float* b, size_t padded, float* out) {
  size_t left = padded / kWidth, at = 0;
  // Enough sums at once to hide the latency of a multiply-add, few enough for 16 registers.
  for (; left >= 3; left -= 3, at += 3 * kWidth) spread_keys<4, 3>(p, rows, lanes, b + at, padded, out + at);
  if (left == 2) spread_keys<4, 2>(p, rows, lanes, b + at, padded, out + at);
  if (left == 1) spread_keys<8, 1>(p, rows, lanes, b + at, padded, out + at);
}

/// The head's rows of a [length][stride] tensor: dst[j][c] = src[j][c], rows of d floats.
CF_INLINE void copy_rows(const float* src, size_t stride, size_t rows, size_t d, float* dst) {
  for (size_t j = 0; j < rows; ++j)
    for (size_t c = 0; c < d; ++c) dst[j * d + c] = src[j * stride + c];
}
/// dst[c][lane] = src[lane][c]·scale, lanes from `rows` on are 0.
CF_INLINE void transpose_rows(const float* src, size_t stride, size_t rows, size_t d, float scale, size_t lanes, float* dst) {
  for (size_t c = 0; c < d; ++c) {
    for (size_t i = 0; i < rows; ++i) dst[c * lanes + i] = src[i * stride + c] * scale;
    for (size_t i = rows; i < lanes; ++i) dst[c * lanes + i] = 0.0f;
  }
}

/// Draws of the weights (item, query i0 + lane, key j…), vector by vector.
struct AttentionMask {
  const PhiloxKey& key;  ///< of the image
  uint32_t row;          ///< element of (h, i0, 0)
  uint32_t length;
};
CF_INLINE PhiloxKey attention_key(const AttentionArgs& a, size_t image) {
  const AttentionDropout& d = a.dropout;
  return philox_key(d.seed, d.stream, d.first_sample + static_cast<uint32_t>(image), d.iteration, d.loop);
}
CF_INLINE AttentionMask attention_mask(const AttentionArgs& a, const PhiloxKey& key, size_t head, size_t query) {
  const uint32_t length = static_cast<uint32_t>(a.shape.length);
  return {key, (static_cast<uint32_t>(head) * length + static_cast<uint32_t>(query)) * length, length};
}
/// Which of keys j … j + 3 are kept by the queries of vector v: all bits set per lane. Keys behind the last are unspecified.
CF_INLINE void kept(const AttentionMask& m, vi least, uint32_t j, int v, vi out[4]) {
  const vu element = (vu)(iota() + splat_i(v * kWidth)) * m.length + (m.row + j);
  vi words[4];
  if (m.length % 4 == 0) {  // j is a multiple of 4 too: the four draws are the words of one block
    philox(m.key, (vi)(element >> 2), words);
    for (int k = 0; k < 4; ++k) out[k] = (vi)((vu)words[k] >> 8) >= least;
    return;
  }
  for (int k = 0; k < 4; ++k) {
    const vu e = element + static_cast<uint32_t>(k);
    const vi word = (vi)(e & 3u);
    philox(m.key, (vi)(e >> 2), words);
    const vi low = select(word == splat_i(0), words[0], words[1]), high = select(word == splat_i(2), words[2], words[3]);
    out[k] = (vi)((vu)select(word < splat_i(2), low, high) >> 8) >= least;
  }
}
/// The same for keys [j0, j0 + count), j0 a multiple of 4, as rows of kV vectors; rows up to the next multiple of 4 are written. A function of its own: inside
/// the softmax its many values would push everything else out of the registers.
template <int kV>
static __attribute__((noinline)) void keep_block(const AttentionMask& m, uint32_t threshold, size_t j0, size_t count, float* keep) {
  const vi least = splat_i(static_cast<int32_t>(threshold));
  for (size_t j = 0; j < count; j += 4)
    for (int v = 0; v < kV; ++v) {
      vi rows[4];
      kept(m, least, static_cast<uint32_t>(j0 + j), v, rows);
      for (size_t k = 0; k < 4; ++k) store(keep + ((j + k) * kV + static_cast<size_t>(v)) * kWidth, as_float(rows[k]));
    }
}

}  // namespace cf::cpu::CF_ISA
