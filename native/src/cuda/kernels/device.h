// What device code may use. Compiled by NVRTC and nvcc, and by tests for the host (cuda/emulation/shim.h stands in for CUDA's own names then).
//
//  - CF_KERNEL defines the one entry point of a translation unit: CF_KERNEL(const Args a) { … }.
//  - Cooperating kernels: __syncthreads() reached by all threads of a block; shuffles only with all 32 lanes of a warp; block sizes that are multiples of 32.
//  - Shared memory: static arrays (__shared__ float s[N]) or, sized by the launch, CF_DYNAMIC_SHARED(float, s).
//  - CF_UNROLL before a loop whose arrays are meant to stay in registers, CF_ROLLED before one whose body is too long to be repeated.
//  - No textures, no inline PTX, no thread-block clusters, no fast-math intrinsics.
#pragma once
#include <cstdint>

#include "common/philox.h"

#if defined(__CUDACC__)
#define CF_UNROLL _Pragma("unroll")
#define CF_ROLLED _Pragma("unroll 1")
#define CF_KERNEL extern "C" __global__ void cf_kernel
#define CF_DYNAMIC_SHARED(T, name) extern __shared__ __align__(16) unsigned char cf_shared_bytes[]; T* const name = reinterpret_cast<T*>(cf_shared_bytes)
#else
#define CF_UNROLL
#define CF_ROLLED
#endif

namespace cf::cuda {

constexpr unsigned kWholeWarp = 0xffffffffu;

}  // namespace cf::cuda
