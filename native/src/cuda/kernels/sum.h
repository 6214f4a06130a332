// Sums with a tree that only the shapes decide: of the columns of a matrix, in one launch or in two with partial sums between them.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct SumArgs {
  const void* in;   ///< [rows, columns], of CF_IN
  double* partial;  ///< [slices, columns] when there are several slices
  float* out;       ///< columns [0, split)
  float* second;    ///< columns [split, columns)
  uint64_t rows;
  uint32_t columns, split;
  uint32_t width;  ///< columns of a block: a power of two up to 32
};

#if defined(CF_KERNEL) && defined(CF_IN)

/// Blocks: (groups of `width` columns, slices of the rows). Neighbouring threads add neighbouring columns, where few columns follow each other then neighbouring rows.
__device__ __forceinline__ void sum_columns(const SumArgs& a) {
  __shared__ double parts[256];
  const uint32_t lines = 256 / a.width, column = blockIdx.x * a.width + threadIdx.x % a.width, line = threadIdx.x / a.width;
  const uint64_t each = (a.rows + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * each, end = begin + each < a.rows ? begin + each : a.rows;
  double sum = 0.0;
  if (column < a.columns)
    for (uint64_t row = begin + line; row < end; row += lines) sum += static_cast<const CF_IN*>(a.in)[row * a.columns + column];
  parts[threadIdx.x] = sum;
  __syncthreads();
  for (uint32_t half = lines / 2; half > 0; half /= 2) {
    if (line < half) parts[threadIdx.x] += parts[threadIdx.x + half * a.width];
    __syncthreads();
  }
  if (line != 0 || column >= a.columns) return;
  if (gridDim.y > 1) a.partial[uint64_t{blockIdx.y} * a.columns + column] = parts[threadIdx.x];
  else if (column < a.split) a.out[column] = static_cast<float>(parts[threadIdx.x]);
  else a.second[column - a.split] = static_cast<float>(parts[threadIdx.x]);
}

#endif

}  // namespace cf::cuda

#if defined(CF_KERNEL) && defined(CF_IN)
CF_KERNEL(const cf::cuda::SumArgs a) { cf::cuda::sum_columns(a); }
#endif
