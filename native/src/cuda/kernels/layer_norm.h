// Layer normalisation over the last axis, forward and (CF_GRADIENT) backward: y = (x − mean)/√(variance + eps)·gain + bias. With h = (x − mean)·inv_std and
// g = dy·gain: dx = inv_std·(g − mean(g) − h·mean(g·h)), dgain = Σ dy·h, dbias = Σ dy over the rows.
//
// CF_LANES threads share a row of CF_C channels and keep it in registers, CF_WIDE neighbouring channels each (16 bytes when 4), so that a row is read once. The
// gradient's sums over rows stay in registers as well, until a block's groups of threads add theirs up in order.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct LayerNormArgs {
  const float *x, *gain;
  const float* bias;  ///< forward only
  const float* dy;    ///< gradient only
  float* y;           ///< dx for the gradient
  float* partial;     ///< gradient only: [blocks][dgain | dbias]
  uint64_t rows;
  float eps;
};

#if defined(CF_KERNEL)

constexpr int kChannels = CF_C, kLanes = CF_LANES, kWide = CF_WIDE, kEach = (CF_C + CF_LANES * CF_WIDE - 1) / (CF_LANES * CF_WIDE);
constexpr int kThreads = 256, kGroups = kThreads / kLanes;

/// A thread's share of a row: unit j holds channels (j·kLanes + lane)·kWide and following.
struct Share {
  float v[kEach][kWide];
};
__device__ __forceinline__ int channel(int lane, int j) { return (j * kLanes + lane) * kWide; }
__device__ __forceinline__ bool inside(int lane, int j) { return kChannels % (kLanes * kWide) == 0 || channel(lane, j) < kChannels; }

__device__ __forceinline__ Share load(const float* row, int lane) {
  Share s;
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    CF_UNROLL
    for (int w = 0; w < kWide; ++w) s.v[j][w] = 0.0f;
    if (!inside(lane, j)) continue;
#if CF_WIDE == 4
    const float4 f = *reinterpret_cast<const float4*>(row + channel(lane, j));
    s.v[j][0] = f.x, s.v[j][1] = f.y, s.v[j][2] = f.z, s.v[j][3] = f.w;
#else
    s.v[j][0] = row[channel(lane, j)];
#endif
  }
  return s;
}
__device__ __forceinline__ void store(float* row, int lane, const Share& s) {
  CF_UNROLL
  for (int j = 0; j < kEach; ++j) {
    if (!inside(lane, j)) continue;
#if CF_WIDE == 4
    *reinterpret_cast<float4*>(row + channel(lane, j)) = make_float4(s.v[j][0], s.v[j][1], s.v[j][2], s.v[j][3]);
#else
    row[channel(lane, j)] = s.v[j][0];
#endif
  }
}

/// f(j, w) for each element of a share that is in the row.
template <class F>
__device__ __forceinline__ void each(int lane, F f) {
  CF_UNROLL
  for (int j = 0; j < kEach; ++j)
    if (inside(lane, j)) {
      CF_UNROLL
      for (int w = 0; w < kWide; ++w) f(j, w);
    }
}

/// Sum over the threads of a row; all of them get the same bits. Wide rows have several warps.
__device__ __forceinline__ float row_sum(float v) {
  CF_UNROLL
  for (int m = (kLanes < 32 ? kLanes : 32) / 2; m > 0; m /= 2) v += __shfl_xor_sync(kWholeWarp, v, m);
#if CF_LANES > 32
  __shared__ float warps[kThreads / 32];
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0.0f;
  for (int w = 0; w < kLanes / 32; ++w) v += warps[threadIdx.x / kLanes * (kLanes / 32) + w];
#endif
  return v;
}

/// Mean and 1/√(variance + eps), in two passes over the registers: the variance is of differences from the mean, so large means cost no precision.
struct Moments {
  float mean, inv_std;
};
__device__ __forceinline__ Moments moments(const Share& x, int lane, float eps) {
  Moments m;
  float sum = 0.0f, squares = 0.0f;
  each(lane, [&](int j, int w) { sum += x.v[j][w]; });
  m.mean = row_sum(sum) / kChannels;
  each(lane, [&](int j, int w) {
    const float d = x.v[j][w] - m.mean;
    squares += d * d;
  });
  m.inv_std = 1.0f / sqrtf(row_sum(squares) / kChannels + eps);
  return m;
}

#if defined(CF_GRADIENT)

/// Adds the groups' sums up, group by group, and puts the block's.
__device__ __forceinline__ void put_sums(const Share& sums, int group, int lane, float* out) {
  __shared__ float slab[kThreads * kWide];
  for (int j = 0; j < kEach; ++j) {
    __syncthreads();
    CF_UNROLL
    for (int w = 0; w < kWide; ++w) slab[(group * kLanes + lane) * kWide + w] = sums.v[j][w];
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < kLanes * kWide; c += kThreads) {
      float sum = 0.0f;
      for (int g = 0; g < kGroups; ++g) sum += slab[g * kLanes * kWide + c];
      if (j * kLanes * kWide + c < kChannels) out[j * kLanes * kWide + c] = sum;
    }
  }
}

#endif
#endif

}  // namespace cf::cuda

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::LayerNormArgs a) {
  using namespace cf::cuda;
  const int lane = static_cast<int>(threadIdx.x) % kLanes, group = static_cast<int>(threadIdx.x) / kLanes;
  const Share gain = load(a.gain, lane);
#if defined(CF_GRADIENT)
  Share dgain{}, dbias{};
#else
  const Share bias = load(a.bias, lane);
#endif
  // All threads go round equally often, because they exchange sums; those without a row look at the last one.
  for (uint64_t first = uint64_t{blockIdx.x} * kGroups; first < a.rows; first += uint64_t{gridDim.x} * kGroups) {
    const bool there = first + static_cast<uint64_t>(group) < a.rows;
    const uint64_t at = (there ? first + static_cast<uint64_t>(group) : a.rows - 1) * kChannels;
    Share x = load(a.x + at, lane);
    const Moments m = moments(x, lane, a.eps);
#if defined(CF_GRADIENT)
    Share g = load(a.dy + at, lane);
    float sum_g = 0.0f, sum_gh = 0.0f;
    each(lane, [&](int j, int w) {
      const float h = (x.v[j][w] - m.mean) * m.inv_std, d = g.v[j][w];
      if (there) dgain.v[j][w] += d * h, dbias.v[j][w] += d;
      x.v[j][w] = h, g.v[j][w] = d * gain.v[j][w];
      sum_g += g.v[j][w], sum_gh += g.v[j][w] * h;
    });
    const float mean_g = row_sum(sum_g) / kChannels, mean_gh = row_sum(sum_gh) / kChannels;
    each(lane, [&](int j, int w) { x.v[j][w] = (g.v[j][w] - (x.v[j][w] * mean_gh + mean_g)) * m.inv_std; });
#else
    each(lane, [&](int j, int w) { x.v[j][w] = (x.v[j][w] - m.mean) * m.inv_std * gain.v[j][w] + bias.v[j][w]; });
#endif
    if (there) store(a.y + at, lane, x);
  }
#if defined(CF_GRADIENT)
  put_sums(dgain, group, lane, a.partial + uint64_t{blockIdx.x} * 2 * kChannels);
  put_sums(dbias, group, lane, a.partial + uint64_t{blockIdx.x} * 2 * kChannels + kChannels);
#endif
}
#endif
