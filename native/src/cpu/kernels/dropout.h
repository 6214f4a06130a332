// Philox on vectors: the same words as common/philox.h, one block per lane.
#pragma once
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

typedef uint64_t vq __attribute__((vector_size(kWidth * 4)));

/// What all blocks of one sample share, as vectors in memory: the round keys are then operands of an exclusive or, not broadcasts.
struct PhiloxKey {
  vq sample, iteration, loop;
  vq round[10][2];
};
CF_INLINE PhiloxKey philox_key(uint32_t seed, uint32_t stream, uint32_t sample, uint32_t iteration, uint32_t loop) {
  PhiloxKey k;
  k.sample = vq{} + uint64_t{sample}, k.iteration = vq{} + uint64_t{iteration}, k.loop = vq{} + uint64_t{loop};
  for (int i = 0; i < 10; ++i) {
    k.round[i][0] = vq{} + uint64_t{seed}, k.round[i][1] = vq{} + uint64_t{stream};
    seed += 0x9E3779B9u, stream += 0xBB67AE85u;
  }
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

/// words[k] of the blocks with counter (block, sample, iteration, loop). Even and odd lanes take turns in 64-bit lanes, where a product keeps both halves.
CF_INLINE void philox(const PhiloxKey& key, vi block, vi words[4]) {
  vq c[2][4];
  for (int h = 0; h < 2; ++h) {
    c[h][0] = h ? (vq)block >> 32 : (vq)block;
    c[h][1] = key.sample, c[h][2] = key.iteration, c[h][3] = key.loop;
  }
#pragma GCC unroll 10
  for (int i = 0; i < 10; ++i)
    for (int h = 0; h < 2; ++h) {  // upper halves hold rubbish that mul_low ignores
      const vq p0 = mul_low(c[h][0], 0xD2511F53u), p1 = mul_low(c[h][2], 0xCD9E8D57u);
      c[h][0] = (p1 >> 32) ^ (c[h][1] ^ key.round[i][0]);
      c[h][1] = p1;
      c[h][2] = (p0 >> 32) ^ (c[h][3] ^ key.round[i][1]);
      c[h][3] = p0;
    }
  for (int w = 0; w < 4; ++w) words[w] = (vi)((c[0][w] & (vq{} + uint64_t{0xffffffffu})) | (c[1][w] << 32));
}

}  // namespace cf::cpu::CF_ISA
