// Float32 values as three bfloat16 each, and AMX's eight registers of 16 × 64 bytes that multiply such; without AMX the same in plain code, for tests.
#pragma once
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

constexpr size_t kTileRows = 16, kTileBytes = 1024;
constexpr size_t kDeep = 32;               // values summed at a time: a tile's row of bfloat16
constexpr size_t kBlock = 3 * kTileBytes;  // the three parts of 16 × 32 values, one after the other

/// The parts of kCount values of each of two vectors, kTileBytes apart: the upper halves of a value, of what that leaves, and of what is left then, which is exact.
/// The two alternate in a tile's row, which is the order that products take them in.
template <size_t kCount = 16, class A, class B>
CF_INLINE void split(A first, B second, char* to) {
  const vi mask = splat_i(static_cast<int32_t>(0xffff0000));
  for (size_t l = 0; l < kCount; l += kWidth, to += 4 * kWidth) {
    vf a = first(l), b = second(l);
#pragma GCC unroll 3
    for (size_t part = 0; part < 3; ++part) {
      const vi high = as_int(b) & mask;
      store(reinterpret_cast<int32_t*>(to + part * kTileBytes), (vi)((vu)as_int(a) >> 16) | high);
      if (part == 2) break;
      a -= as_float(as_int(a) & mask);
      b -= as_float(high);
    }
  }
}

#if defined(CF_VEC_AVX512) && defined(__x86_64__)

/// Tiles are the thread's from here to the end of scope: all 16 rows of 64 bytes.
/// The assembler is spoken to directly: compilers' intrinsics ask for flags that the rest of a file must not be compiled with.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int T>
  __attribute__((always_inline)) void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  /// 16 rows, `stride` bytes apart.
  template <int T>
  __attribute__((always_inline)) void load(const void* from, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T));
  }
  template <int T>
  __attribute__((always_inline)) void store(void* to, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
  }
  /// C[m][n] += Σ_k A[m][2k]·B[k][2n] + A[m][2k+1]·B[k][2n+1]: 16×16 float32, bfloat16, bfloat16.
  template <int C, int A, int B>
  __attribute__((always_inline)) void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
  /// What was written with vectors is there for loads from here on.
  __attribute__((always_inline)) void settle() { asm volatile("" : : : "memory"); }
};

#else

class Tiles {
 public:
  template <int T>
  void zero() {
    __builtin_memset(data_[T], 0, kTileBytes);
  }
  template <int T>
  void load(const void* from, size_t stride) {
    for (size_t i = 0; i < kTileRows; ++i) __builtin_memcpy(data_[T] + i * 64, static_cast<const char*>(from) + i * stride, 64);
  }
  template <int T>
  void store(void* to, size_t stride) {
    for (size_t i = 0; i < kTileRows; ++i) __builtin_memcpy(static_cast<char*>(to) + i * stride, data_[T] + i * 64, 64);
  }
  template <int C, int A, int B>
  void dot() {
    float c[256];
    uint16_t a[512], b[512];
    __builtin_memcpy(c, data_[C], kTileBytes);
    __builtin_memcpy(a, data_[A], kTileBytes);
    __builtin_memcpy(b, data_[B], kTileBytes);
    for (int m = 0; m < 16; ++m)
      for (int k = 0; k < 16; ++k)
        for (int n = 0; n < 16; ++n)
          for (int i = 0; i < 2; ++i) c[m * 16 + n] += wide(a[m * 32 + 2 * k + i]) * wide(b[k * 32 + 2 * n + i]);
    __builtin_memcpy(data_[C], c, kTileBytes);
  }
  void settle() {}

 private:
  static float wide(uint16_t part) {
    const uint32_t bits = uint32_t{part} << 16;
    float v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
  }
  alignas(64) char data_[8][kTileBytes];
};

#endif

}  // namespace cf::cpu::CF_ISA
