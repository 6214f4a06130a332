// Transposition of small matrices, in blocks of 8×8 that stay in registers where the compiler has shuffles of vectors.
#pragma once
#include "cpu/kernels/vec.h"

#if (defined(CF_VEC_AVX512) || defined(CF_VEC_AVX2)) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)  // Clang, and GCC from 12 on
#define CF_SHUFFLES 1
#endif
#endif

namespace cf::cpu::CF_ISA {

/// Half a vector with AVX-512, which halves what rows of 8 or 24 floats waste; else a vector.
constexpr int kStrip = kWidth > 8 ? 8 : kWidth;
typedef float vs __attribute__((vector_size(kStrip * 4)));
typedef float vs_any __attribute__((vector_size(kStrip * 4), aligned(4), may_alias));
CF_INLINE vs load_strip(const float* p) { return *reinterpret_cast<const vs_any*>(p); }
CF_INLINE void store_strip(float* p, vs v) { *reinterpret_cast<vs_any*>(p) = v; }
CF_INLINE vs splat_strip(float x) { return x - vs{}; }
CF_INLINE vs fma_strip(vs a, vs b, vs c) {
#if defined(CF_VEC_AVX512) || defined(CF_VEC_AVX2)
  return (vs)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

#if defined(CF_SHUFFLES)
/// Transposes 8×8 in three rounds of shuffles.
CF_INLINE void transpose8(const vs rows[8], vs columns[8]) {
  vs a[8], b[8];
#pragma GCC unroll 4
  for (int t = 0; t < 8; t += 2) {
    b[t] = __builtin_shufflevector(rows[t], rows[t + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[t + 1] = __builtin_shufflevector(rows[t], rows[t + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int t = 0; t < 8; t += 4)
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      a[t + 2 * u] = __builtin_shufflevector(b[t + u], b[t + u + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[t + 2 * u + 1] = __builtin_shufflevector(b[t + u], b[t + u + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    columns[t] = __builtin_shufflevector(a[t], a[t + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    columns[t + 4] = __builtin_shufflevector(a[t], a[t + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

/// to[c·to_stride + r] = from[r·from_stride + c]·scale.
CF_INLINE void transpose(const float* from, size_t from_stride, size_t rows, size_t columns, float scale, float* to, size_t to_stride) {
  size_t r = 0;
#if defined(CF_SHUFFLES)
  for (; r + 8 <= rows; r += 8) {
    size_t c = 0;
    for (; c + 8 <= columns; c += 8) {
      vs block[8], turned[8];
#pragma GCC unroll 8
      for (size_t k = 0; k < 8; ++k) block[k] = load_strip(from + (r + k) * from_stride + c);
      transpose8(block, turned);
#pragma GCC unroll 8
      for (size_t k = 0; k < 8; ++k) store_strip(to + (c + k) * to_stride + r, turned[k] * splat_strip(scale));
    }
    for (; c < columns; ++c)
      for (size_t k = r; k < r + 8; ++k) to[c * to_stride + k] = from[k * from_stride + c] * scale;
  }
#endif
  for (; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c] * scale;
}

}  // namespace cf::cpu::CF_ISA
