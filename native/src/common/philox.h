// Philox4x32-10 (Salmon et al. 2011) and the draws made from it, for CPU and GPU alike and the same bits on both.
//
// A draw is addressed, never stored: key = (seed, stream), counter = (element >> 2, sample, iteration, loop), and word (element & 3) is the draw of `element`.
// Every float operation below is exact, correctly rounded, or an explicit fma, and no product is ever an operand of a bare addition: so no compiler flag about
// contraction can change a bit.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define CF_HD __host__ __device__ __forceinline__
#else
#define CF_HD inline
#endif

namespace cf {

CF_HD void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

namespace exact {

CF_HD float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}
CF_HD float sqrt(float a) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(a);
#else
  return __builtin_sqrtf(a);
#endif
}
CF_HD float div(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}
CF_HD uint32_t bits(float a) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(a);
#else
  uint32_t b;
  __builtin_memcpy(&b, &a, 4);
  return b;
#endif
}
CF_HD float from_bits(uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(b);
#else
  float a;
  __builtin_memcpy(&a, &b, 4);
  return a;
#endif
}

/// −2·ln(m·2^-24) for 1 ≤ m ≤ 2^24 as hi + lo, good to about 2^-27 of its value.
CF_HD void minus_two_log(uint32_t m, float& hi, float& lo) {
  const uint32_t b = bits(static_cast<float>(m));  // exact: 24 bits
  const int32_t e = static_cast<int32_t>(b - 0x3f3504f3u) >> 23;
  const float n = static_cast<float>(e - 24);
  const float t = from_bits(b - (static_cast<uint32_t>(e) << 23)) - 1.0f;  // m = 2^e·(1 + t), √½ ≤ 1 + t < √2; exact
  // ln(1 + t) = t − t²/2 + t³·P(t)
  float p = 0.0697161183f;
  p = fma(p, t, -0.114797339f);
  p = fma(p, t, 0.116854198f);
  p = fma(p, t, -0.124256872f);
  p = fma(p, t, 0.142490581f);
  p = fma(p, t, -0.166678026f);
  p = fma(p, t, 0.200007156f);
  p = fma(p, t, -0.24999997f);
  p = fma(p, t, 0.333333313f);
  const float q = t * t, ql = fma(t, t, -q);
  const float a = fma(-0.5f, q, t), al = fma(-0.5f, q, t - a);                    // t − q/2 = a + al exactly
  const float s = fma(n, 0.693145751953125f, a);                                  // n·(first 19 bits of ln 2) is exact
  const float sl = a - fma(n, -0.693145751953125f, s);                            // s's rounding error (|n ln 2| > |a|, or n = 0)
  const float rest = fma(n, 1.42860682e-6f, fma(t * q, p, fma(-0.5f, ql, al + sl)));
  const float sum = s + rest;
  hi = -2.0f * sum;
  lo = -2.0f * (rest - (sum - s));
}

/// (cos, sin) of 2π·k/2^24 for 0 ≤ k < 2^24. Octant and remainder are exact integers, so small results keep their relative precision.
CF_HD void cos_sin_turn(uint32_t k, float& c, float& s) {
  const uint32_t octant = k >> 21, rem = k & 0x1fffffu;
  const float r = static_cast<float>((octant & 1) ? 0x200000u - rem : rem) * 5.9604644775390625e-8f;  // turns, 0 ≤ r ≤ 1/8; exact
  const float q = r * r, ql = fma(r, r, -q);
  // sin 2πr = 2πr + r³·S(r²), cos 2πr = 1 + r²·C(r²)
  const float sp = fma(fma(fma(41.5895424f, q, -76.7012863f), q, 81.6052322f), q, -41.3417015f);
  const float cp = fma(fma(fma(-26.180418f, q, 60.2422447f), q, -85.45681f), q, 64.9393921f);
  const float sn = fma(r, 6.28318548f, r * fma(q, sp, -1.74845560e-7f));
  const float cs = fma(q, -19.7392082f, fma(ql, -19.7392082f, fma(q * q, cp, q * -5.80743170e-7f))) + 1.0f;
  const bool swap = ((octant + 1) & 2) != 0;           // octants 1, 2, 5, 6
  const float ac = swap ? sn : cs, as = swap ? cs : sn;
  c = (octant - 2u) < 4u ? -ac : ac;                   // octants 2…5
  s = octant >= 4u ? -as : as;
}

}  // namespace exact

/// [0, 1), a multiple of 2^-24.
CF_HD float uniform_from(uint32_t word) { return static_cast<float>(word >> 8) * 5.9604644775390625e-8f; }

/// 16 bits for draws that need no more: element e of such a stream is e & 7 of block e >> 3, each word's lower half first.
CF_HD uint32_t half_from(const uint32_t words[4], uint32_t element) { return words[element >> 1 & 3] >> (element & 1) * 16 & 0xffffu; }

/// Halves below this are dropped: p rounded to 16 bits, but not to 0 or 1. For 0 < p < 1.
CF_HD uint32_t dropout_threshold(float p) {
  const uint32_t nearest = static_cast<uint32_t>(p * 65536.0f + 0.5f);
  return nearest < 1u ? 1u : nearest > 65535u ? 65535u : nearest;
}

/// The standard normal draws of elements 2j (from words w0, w1 of the pair: even) and 2j + 1 (odd). Box–Muller; within 2e-7 of exact, relatively.
CF_HD void normal_pair(uint32_t w0, uint32_t w1, float& even, float& odd) {
  float hi, lo, c, s;
  exact::minus_two_log((w0 >> 8) + 1u, hi, lo);
  exact::cos_sin_turn(w1 >> 8, c, s);
  const float r = exact::sqrt(hi);
  // What the square root's rounding and lo leave out: (hi + lo − r²) / 2r.
  const float d = exact::fma(-r, r, hi) + lo;
  const float rl = r > 0.0f ? exact::div(0.5f * d, r) : 0.0f;
  even = exact::fma(r, c, rl * c);
  odd = exact::fma(r, s, rl * s);
}

CF_HD void philox_at(uint32_t seed, uint32_t stream, uint32_t block, uint32_t sample, uint32_t iteration, uint32_t loop, uint32_t out[4]) {
  const uint32_t counter[4] = {block, sample, iteration, loop}, key[2] = {seed, stream};
  philox4x32_10(counter, key, out);
}

}  // namespace cf
