// Which elements dropout keeps, as bits: the same draws as common/philox.h.
#pragma once
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

typedef uint64_t vq __attribute__((vector_size(kWidth * 4)));
typedef int16_t vh __attribute__((vector_size(kWidth * 4)));

constexpr uint32_t kPhilox0 = 0xD2511F53u, kPhilox1 = 0xCD9E8D57u;

/// What all blocks of one sample share, as vectors in memory: they are then operands of an exclusive or, not broadcasts. Only the first counter word differs
/// between blocks, so half of the first three rounds is the same for all and done once.
struct KeepKey {
  vq second, third, third_sum, fourth[2];
  vq round[6][2];
  vq last[2];
  vh least;  ///< a draw is kept when it is greater, both with the sign flipped
};

/// Draws of 16 bits are kept when they reach `threshold`, 1 … 65535.
CF_INLINE KeepKey keep_key(uint32_t threshold, uint32_t seed, uint32_t stream, uint32_t sample, uint32_t iteration, uint32_t loop) {
  const auto high = [](uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); };
  const auto all = [](uint64_t x) { return vq{} + x; };
  uint32_t k0[10], k1[10];
  for (uint32_t i = 0; i < 10; ++i) k0[i] = seed + i * 0x9E3779B9u, k1[i] = stream + i * 0xBB67AE85u;
  const uint32_t a0 = high(kPhilox1, iteration) ^ sample ^ k0[0], a1 = kPhilox1 * iteration, b3 = kPhilox0 * a0;
  KeepKey k;
  k.second = all(loop ^ k1[0]);
  k.third = all(a1 ^ k0[1]), k.third_sum = all(high(kPhilox0, a0) ^ k1[1]);
  k.fourth[0] = all(k0[2]), k.fourth[1] = all(b3 ^ k1[2]);
  for (int i = 0; i < 6; ++i) k.round[i][0] = all(k0[i + 3]), k.round[i][1] = all(k1[i + 3]);
  // Flips the signs as well: there are only signed comparisons.
  for (int w = 0; w < 2; ++w) k.last[w] = all(uint64_t{(w ? k1 : k0)[9] ^ 0x80008000u} << 32 | 0x80008000u);
  k.least = vh{} + static_cast<int16_t>((threshold - 1) ^ 0x8000u);
  return k;
}

/// Products of the low halves of the 64-bit lanes.
CF_INLINE vq mul_low(vq a, uint32_t b) {
  const vq m = vq{} + uint64_t{b};
#if defined(CF_VEC_AVX512)
  return (vq)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)m);
#elif defined(CF_VEC_AVX2)
  return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)m);
#elif defined(CF_VEC_SSE2)
  return (vq)_mm_mul_epu32((__m128i)a, (__m128i)m);
#else
  return (a & (vq{} + uint64_t{0xffffffffu})) * m;
#endif
}

/// The high halves of the 64-bit lanes, as low ones; what is above them is rubbish.
CF_INLINE vq high_halves(vq a) {
#if defined(CF_VEC_AVX512)
  // A shift of a whole register would take the unit that multiplies (Intel).
  return (vq)_mm512_maskz_shuffle_epi32(kAll, (__m512i)a, _MM_PERM_DDBB);
#else
  return a >> 32;
#endif
}

/// Lanes of two comparisons as bits: 16 for each four blocks' worth of lanes (128 bits), those of a, then those of b.
CF_INLINE uint64_t bits_of_halves(vh a, vh b) {
#if defined(CF_VEC_AVX512)
  const auto bytes = [](uint64_t x) {  // byte i to byte 2i
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    return (x | x << 8) & 0x00ff00ff00ff00ffu;
  };
  return bytes(_mm512_movepi16_mask((__m512i)a)) | bytes(_mm512_movepi16_mask((__m512i)b)) << 8;
#elif defined(CF_VEC_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16((__m256i)a, (__m256i)b)));
#elif defined(CF_VEC_SSE2)
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16((__m128i)a, (__m128i)b)));
#else
  uint64_t bits = 0;
  for (int i = 0; i < 2 * kWidth; ++i) bits |= (uint64_t{a[i] & 1u} | uint64_t{b[i] & 1u} << 8) << (i / 8 * 16 + i % 8);
  return bits;
#endif
}

constexpr int kDraws = 256, kBitWords = kDraws / 64;  // at once: enough blocks for vectors to take turns, and for their bits to be sorted meanwhile

/// Which of the draws of the 32 blocks from `first` on are kept, in order. A 64-bit lane is a block: products keep both halves, and what is above the low half of a
/// counter word is rubbish that mul_low ignores.
CF_INLINE void keep_bits(const KeepKey& k, uint32_t first, uint64_t bits[kBitWords]) {
  constexpr int kBlocks = kWidth / 2, kTurns = kWidth > 8 ? 2 : 4;
  vq block = vq{} + uint64_t{first};
  for (int i = 0; i < kBlocks; ++i) block[i] += static_cast<uint64_t>(i);
  for (int i = 0; i < kBitWords; ++i) bits[i] = 0;
  for (int at = 0; at < kDraws; at += 8 * kTurns * kBlocks, block += uint64_t{kTurns * kBlocks}) {
    vq c[kTurns][4];  // vectors take turns: a round is a chain of dependent instructions
    for (int h = 0; h < kTurns; ++h) {
      const vq p = mul_low(block + uint64_t{kBlocks} * static_cast<uint64_t>(h), kPhilox0);
      c[h][2] = high_halves(p) ^ k.second, c[h][3] = p;
    }
    for (int h = 0; h < kTurns; ++h) {
      const vq p = mul_low(c[h][2], kPhilox1);
      c[h][0] = high_halves(p) ^ k.third, c[h][1] = p, c[h][2] = c[h][3] ^ k.third_sum;
    }
    for (int h = 0; h < kTurns; ++h) {
      const vq p = mul_low(c[h][2], kPhilox1), q = mul_low(c[h][0], kPhilox0);
      c[h][0] = high_halves(p) ^ (c[h][1] ^ k.fourth[0]), c[h][1] = p;
      c[h][2] = high_halves(q) ^ k.fourth[1], c[h][3] = q;
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i)
      for (int h = 0; h < kTurns; ++h) {
        const vq p = mul_low(c[h][2], kPhilox1), q = mul_low(c[h][0], kPhilox0);
        c[h][0] = high_halves(p) ^ (c[h][1] ^ k.round[i][0]), c[h][1] = p;
        c[h][2] = high_halves(q) ^ (c[h][3] ^ k.round[i][1]), c[h][3] = q;
      }
    // The last products already hold a word in each half: the even word above the odd one.
    for (int h = 0; h < kTurns; ++h) {
      const vq w01 = (mul_low(c[h][2], kPhilox1) ^ k.last[0]) ^ (c[h][1] << 32), w23 = (mul_low(c[h][0], kPhilox0) ^ k.last[1]) ^ (c[h][3] << 32);
      const int bit = at + h * 8 * kBlocks;
      bits[bit / 64] |= bits_of_halves((vh)w01 > k.least, (vh)w23 > k.least) << bit % 64;
    }
  }
  // Nibbles: words 1, 0 of blocks 0 and 1, then words 3, 2 of both. Blocks side by side, then words in order.
  for (int i = 0; i < kBitWords; ++i) {
    uint64_t x = bits[i];
    x = (x & 0xf00ff00ff00ff00fu) | (x >> 4 & 0x00f000f000f000f0u) | (x & 0x00f000f000f000f0u) << 4;
    bits[i] = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
  }
}

/// Bit i of `words`: is element `first` + i kept? For `count` elements; the bits behind them are 0.
static __attribute__((noinline)) void keep_stream(const KeepKey& k, uint32_t first, size_t count, uint32_t* words) {
  const uint32_t shift = first & 7;
  uint32_t block = first >> 3;
  uint64_t bits[kBitWords], next[kBitWords];
  const auto draw = [&](uint64_t* to) {
    keep_bits(k, block, to);
    block += kDraws / 8;
  };
  if (shift) draw(next);
  for (size_t at = 0; at < count; at += kDraws) {
    if (shift) {  // the stream does not begin with a block: join the rest of what was drawn with the beginning of the next
      for (int i = 0; i < kBitWords; ++i) bits[i] = next[i] >> shift | (i + 1 < kBitWords ? next[i + 1] << (64 - shift) : 0);
      draw(next);
      bits[kBitWords - 1] |= next[0] << (64 - shift);
    } else {
      draw(bits);
    }
    for (size_t i = 0; i < kDraws / 32 && at + 32 * i < count; ++i) {
      const size_t left = count - at - 32 * i;
      words[at / 32 + i] = static_cast<uint32_t>(bits[i / 2] >> (i % 2 * 32)) & (left < 32 ? (1u << left) - 1 : ~0u);
    }
  }
}

}  // namespace cf::cpu::CF_ISA
