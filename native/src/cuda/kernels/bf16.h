// bfloat16 in memory, float32 in registers.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

/// The upper half of a float32.
struct alignas(2) Bf16 {
  uint16_t bits;

  __device__ __forceinline__ operator float() const { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
  /// Rounds to nearest, ties to even; infinities and NaN stay what they are.
  __device__ __forceinline__ Bf16& operator=(float v) {
    const unsigned u = __float_as_uint(v);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(nan ? (u >> 16) | 64u : (u + 0x7fffu + (u >> 16 & 1u)) >> 16);
    return *this;
  }
};

/// Four neighbours in memory, eight bytes.
__device__ __forceinline__ float4 load_four(const Bf16* from) {
  const uint2 v = *reinterpret_cast<const uint2*>(from);
  return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u));
}
__device__ __forceinline__ void store_four(Bf16* to, float a, float b, float c, float d) {
  Bf16 v[4];
  v[0] = a, v[1] = b, v[2] = c, v[3] = d;
  uint2 both;
  both.x = v[0].bits | static_cast<unsigned>(v[1].bits) << 16;
  both.y = v[2].bits | static_cast<unsigned>(v[3].bits) << 16;
  *reinterpret_cast<uint2*>(to) = both;
}

}  // namespace cf::cuda
