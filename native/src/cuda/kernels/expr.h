// Operations of the expression language (ops.h) as generated kernels call them; what isn't here is an operator of C++.
// Products are never contracted with sums, so that + − · / and √ give the CPU's bits.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda::op {

__device__ __forceinline__ float constant(unsigned bits) { return __uint_as_float(bits); }
__device__ __forceinline__ float truth(bool a) { return a ? 1.0f : 0.0f; }

__device__ __forceinline__ float mul(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
/// NaN where either is NaN; b where they are equal.
__device__ __forceinline__ float max(float a, float b) { return a != a || a > b ? a : b; }
__device__ __forceinline__ float min(float a, float b) { return a != a || a < b ? a : b; }
__device__ __forceinline__ float rsqrt(float a) { return 1.0f / sqrtf(a); }
__device__ __forceinline__ float sigmoid(float a) { return 1.0f / (1.0f + expf(-a)); }
__device__ __forceinline__ float softplus(float a) { return max(a, 0.0f) + log1pf(expf(-fabsf(a))); }
__device__ __forceinline__ float elu(float a) { return a > 0.0f ? a : expm1f(a); }
__device__ __forceinline__ bool is_finite(float a) { return (__float_as_uint(a) & 0x7f800000u) != 0x7f800000u; }

/// Four neighbours in memory.
__device__ __forceinline__ void load4(float* to, const float* from) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
__device__ __forceinline__ void store4(float* to, const float* from) { *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]); }

}  // namespace cf::cuda::op
