// One vector type per instruction set, as a GCC/Clang vector extension: arithmetic operators, comparisons (all bits set where true) and casts come from the
// compiler. Everything is always inlined and has internal linkage, so that nothing compiled for one instruction set can be linked into code for another.
#pragma once
#include <cstddef>
#include <cstdint>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#ifndef CF_ISA
#error "compile kernels with -DCF_ISA=avx512, avx2 or portable"
#endif
#define CF_INLINE static inline __attribute__((always_inline))

namespace cf::cpu::CF_ISA {

#if defined(CF_WIDTH)
constexpr int kWidth = CF_WIDTH;  // compiler-made vectors of any width: runs the 16-wide paths on machines without such registers (with GCC 12 only at -O1)
#elif defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define CF_VEC_AVX512 1
constexpr int kWidth = 16;
constexpr __mmask16 kAll = 0xffff;  // zero-masked forms with every lane on: GCC 12 warns about its own unmasked ones (its bug 105593); same instructions
#elif defined(__AVX2__) && defined(__FMA__)
#define CF_VEC_AVX2 1
constexpr int kWidth = 8;
#else
#if defined(__SSE2__)
#define CF_VEC_SSE2 1
#endif
constexpr int kWidth = 4;
#endif

typedef float vf __attribute__((vector_size(kWidth * 4)));
typedef int32_t vi __attribute__((vector_size(kWidth * 4)));
typedef uint32_t vu __attribute__((vector_size(kWidth * 4)));
// The same, wherever it lies in memory.
typedef float vf_any __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef int32_t vi_any __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));

/// An address from which the compiler has to compute those after it. Left to itself it prepares all that an unrolled transform needs, far more than there are
/// registers, and parks them in vector registers.
template <class T>
CF_INLINE T* here(T* p) {
  asm("" : "+r"(p));
  return p;
}

CF_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_any*>(p); }
CF_INLINE vi load(const int32_t* p) { return *reinterpret_cast<const vi_any*>(p); }
CF_INLINE vi load(const uint32_t* p) { return *reinterpret_cast<const vi_any*>(p); }
CF_INLINE void store(float* p, vf v) { *reinterpret_cast<vf_any*>(p) = v; }
CF_INLINE void store(int32_t* p, vi v) { *reinterpret_cast<vi_any*>(p) = v; }
CF_INLINE void store(uint32_t* p, vi v) { *reinterpret_cast<vi_any*>(p) = v; }
/// Past the caches, for what nobody reads soon: p on a vector's boundary, whole cache lines at a time, `fence_streams` at the end.
CF_INLINE void stream(float* p, vf v) {
#if defined(CF_VEC_AVX512)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(CF_VEC_AVX2)
  _mm256_stream_ps(p, (__m256)v);
#else
  store(p, v);
#endif
}
CF_INLINE void fence_streams() {
#if defined(CF_VEC_AVX512) || defined(CF_VEC_AVX2)
  _mm_sfence();
#endif
}
CF_INLINE vf splat(float x) { return x - vf{}; }
CF_INLINE vi splat_i(int32_t x) { return x + vi{}; }
CF_INLINE vf as_float(vi v) { return (vf)v; }
CF_INLINE vi as_int(vf v) { return (vi)v; }

/// 0, 1, 2, …
CF_INLINE vi iota() {
  vi v;
  for (int i = 0; i < kWidth; ++i) v[i] = i;
  return v;
}
/// All bits set in the first n lanes (n may be anything).
CF_INLINE vi first_lanes(int n) { return iota() < splat_i(n); }
/// mask (all bits set or clear per lane) ? a : b, bit for bit.
CF_INLINE vf select(vi mask, vf a, vf b) { return mask ? a : b; }
CF_INLINE vi select(vi mask, vi a, vi b) { return mask ? a : b; }

/// The first n elements (0 ≤ n ≤ kWidth); the other lanes are 0 and their memory is not touched.
CF_INLINE vf load_first(const float* p, int n) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_maskload_ps(p, (__m256i)first_lanes(n));
#else
  vf v{};
  for (int i = 0; i < kWidth; ++i)
    if (i < n) v[i] = p[i];
  return v;
#endif
}
CF_INLINE void store_first(float* p, vf v, int n) {
#if defined(CF_VEC_AVX512)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
#elif defined(CF_VEC_AVX2)
  _mm256_maskstore_ps(p, (__m256i)first_lanes(n), (__m256)v);
#else
  for (int i = 0; i < kWidth; ++i)
    if (i < n) p[i] = v[i];
#endif
}

/// a·b + c: one rounding where the hardware can, two in the portable build.
CF_INLINE vf fma(vf a, vf b, vf c) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
/// c − a·b.
CF_INLINE vf fnma(vf a, vf b, vf c) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return c - a * b;
#endif
}

/// a > b ? a : b, so b where either is NaN.
CF_INLINE vf vmax(vf a, vf b) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_max_ps(kAll, (__m512)a, (__m512)b);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(CF_VEC_SSE2)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
/// a < b ? a : b, so b where either is NaN.
CF_INLINE vf vmin(vf a, vf b) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_min_ps(kAll, (__m512)a, (__m512)b);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(CF_VEC_SSE2)
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}
/// NaN where either is NaN.
CF_INLINE vf vmax_nan(vf a, vf b) { return select(a != a, a, vmax(a, b)); }
CF_INLINE vf vmin_nan(vf a, vf b) { return select(a != a, a, vmin(a, b)); }

CF_INLINE vf vabs(vf a) { return as_float(as_int(a) & splat_i(0x7fffffff)); }
CF_INLINE vf vsqrt(vf a) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_sqrt_ps(kAll, (__m512)a);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_sqrt_ps((__m256)a);
#elif defined(CF_VEC_SSE2)
  return (vf)_mm_sqrt_ps((__m128)a);
#else
  for (int i = 0; i < kWidth; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}
/// To the nearest integer, ties to even; |a| < 2^22 in the portable build.
CF_INLINE vf vround(vf a) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_roundscale_ps(kAll, (__m512)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_round_ps((__m256)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const vf magic = splat(12582912.0f);  // 1.5·2^23: the sum has no fraction bits left
  return (a + magic) - magic;
#endif
}
/// Float to int32, towards zero (values must fit), and back.
CF_INLINE vi to_int(vf a) { return __builtin_convertvector(a, vi); }
CF_INLINE vf to_float(vi a) { return __builtin_convertvector(a, vf); }

/// Sum of the lanes, lane i with lane i + half at each step.
CF_INLINE float hsum(vf v) {
#if defined(CF_VEC_AVX512) || defined(CF_VEC_AVX2) || defined(CF_VEC_SSE2)
#if defined(CF_VEC_AVX512)
  const __m256 e = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, (__m512)v, 0), _mm512_maskz_extractf32x8_ps(0xff, (__m512)v, 1));
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
#elif defined(CF_VEC_AVX2)
  __m128 q = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
#else
  __m128 q = (__m128)v;
#endif
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
#else
  float t[kWidth];
  store(t, v);
  for (int w = kWidth / 2; w > 0; w /= 2)
    for (int i = 0; i < w; ++i) t[i] += t[i + w];
  return t[0];
#endif
}
CF_INLINE float hmax(vf v) {
  float m = v[0];
  for (int i = 1; i < kWidth; ++i) m = m > v[i] ? m : v[i];
  return m;
}
/// A comparison's result as bits, lane 0 lowest.
CF_INLINE uint32_t bits_of(vi mask) {
#if defined(CF_VEC_AVX512)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(CF_VEC_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(CF_VEC_SSE2)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint32_t m = 0;
  for (int i = 0; i < kWidth; ++i) m |= (mask[i] & 1u) << i;
  return m;
#endif
}
/// Any lane of a comparison's result set?
CF_INLINE bool any(vi mask) { return bits_of(mask) != 0; }

}  // namespace cf::cpu::CF_ISA
