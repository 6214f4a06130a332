// Inverse (CF_INVERSE: Gauss–Jordan on [A | 1]) or log|det| (elimination) of one small square matrix, in double and in one block: the matrices of invertible 1 × 1
// convolutions have tens of rows. In shared memory when it fits, else in scratch. A zero pivot divides: a singular matrix gives infinities and NaN.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct SmallMatrixArgs {
  const float* in;
  float* out;
  double* work;  ///< null: shared memory
  uint32_t n;
};

}  // namespace cf::cuda

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::SmallMatrixArgs a) {
  using namespace cf::cuda;
  CF_DYNAMIC_SHARED(double, shared);
  __shared__ uint32_t pivot_row;
  double* m = a.work ? a.work : shared;
#if defined(CF_INVERSE)
  constexpr bool kInverse = true;
#else
  constexpr bool kInverse = false;
#endif
  const uint32_t n = a.n, width = kInverse ? 2 * n : n;
  for (uint32_t i = threadIdx.x; i < n * width; i += blockDim.x) {
    const uint32_t row = i / width, c = i % width;
    m[i] = c < n ? a.in[row * n + c] : c - n == row ? 1.0 : 0.0;
  }
  double log_det = 0.0;
  for (uint32_t k = 0; k < n; ++k) {
    __syncthreads();
    // The largest entry of the column at or below k, the first of equals.
    if (threadIdx.x < 32) {
      uint32_t best = k;
      double most = fabs(m[k * width + k]);
      for (uint32_t i = k + threadIdx.x; i < n; i += 32)
        if (fabs(m[i * width + k]) > most) most = fabs(m[i * width + k]), best = i;
      CF_UNROLL
      for (int s = 16; s > 0; s /= 2) {
        const double other = __shfl_xor_sync(kWholeWarp, most, s);
        const uint32_t row = __shfl_xor_sync(kWholeWarp, best, s);
        if (other > most || (other == most && row < best)) most = other, best = row;
      }
      if (threadIdx.x == 0) pivot_row = best;
    }
    __syncthreads();
    const uint32_t best = pivot_row;
    const double pivot = m[best * width + k];
    if (!kInverse) log_det += log(fabs(pivot));
    if (!kInverse && pivot == 0) break;  // singular: −∞, whatever follows
    __syncthreads();
    for (uint32_t c = k + threadIdx.x; c < width; c += blockDim.x) {
      const double above = m[k * width + c], below = m[best * width + c];
      m[best * width + c] = above, m[k * width + c] = kInverse ? below / pivot : below;
    }
    __syncthreads();
    // Columns from k + 1 on: column k keeps the factors while they are read, and nobody reads it again.
    const uint32_t columns = width - k - 1, top = kInverse ? 0 : k + 1;
    for (uint32_t i = threadIdx.x; i < (n - top) * columns; i += blockDim.x) {
      const uint32_t row = top + i / columns, c = k + 1 + i % columns;
      if (row == k) continue;
      const double factor = kInverse ? m[row * width + k] : m[row * width + k] / pivot;
      m[row * width + c] -= factor * m[k * width + c];
    }
  }
  if (!kInverse) {
    if (threadIdx.x == 0) a.out[0] = static_cast<float>(log_det);
    return;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < n * n; i += blockDim.x) a.out[i] = static_cast<float>(m[i / n * width + n + i % n]);
}
#endif
