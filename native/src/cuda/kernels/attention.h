// Softmax attention and its gradient without the L × L weights in memory: a row of them (a query's, or a key's) belongs to CF_SPLIT neighbouring threads, which
// keep its vectors in registers, CF_D / CF_SPLIT channels each, and go through the other side in tiles of 32 in shared memory. All rows of a warp read the same
// vector there at a time, which is one access of 16 bytes for four multiply-adds of each thread.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct AttentionArgs {
  const float* kvq;      ///< [images, length, 3 · channels], key | value | query
  float* out;            ///< [images, length, channels]
  float* lse;            ///< [items, length]
  const uint32_t* kept;  ///< [items, words]; with CF_DROPOUT only
  const float* dout;     ///< gradient only, like the next
  float* shares;         ///< [items, length]: dout·out of each query
  float* dkvq;
  uint32_t length, heads, channels, words;
  float scale;         ///< of scores: head^-½
  float dropout_scale;  ///< 1 / (1 − p)
};

#if defined(CF_KERNEL)

constexpr int kTile = 32, kSplit = CF_SPLIT;
/// Channels of a thread, whole groups of four; those behind the head are zero.
constexpr int kOwn = (CF_D + 4 * CF_SPLIT - 1) / (4 * CF_SPLIT) * 4;
/// Two parts side by side would meet in the same banks.
constexpr int kPart = kOwn + (CF_SPLIT > 1 ? 4 : 0), kRow = kPart * CF_SPLIT;
constexpr int kThreads = 128, kRows = kThreads / CF_SPLIT;
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// The block's item (image and head), the thread's row and its part of the channels.
struct RowPlace {
  uint32_t item, image, head;
  uint32_t row;  ///< the last one for threads that have none
  uint32_t part;
  bool there;
};
__device__ __forceinline__ RowPlace place_of(const AttentionArgs& a) {
  RowPlace p;
  p.item = blockIdx.x, p.image = p.item / a.heads, p.head = p.item - p.image * a.heads;
  const uint32_t row = blockIdx.y * kRows + threadIdx.x / kSplit;
  p.part = threadIdx.x % kSplit, p.there = row < a.length, p.row = p.there ? row : a.length - 1;
  return p;
}

/// A head's rows somewhere in kvq, out or their gradients.
struct Rows {
  uint64_t first;  ///< element of row 0
  uint32_t stride;
};
enum Third { kKey = 0, kValue = 1, kQuery = 2 };
__device__ __forceinline__ Rows third(const AttentionArgs& a, const RowPlace& p, Third which) {
  return {(uint64_t{p.image} * a.length * 3 + which) * a.channels + p.head * CF_D, 3 * a.channels};
}
__device__ __forceinline__ Rows whole(const AttentionArgs& a, const RowPlace& p) { return {uint64_t{p.image} * a.length * a.channels + p.head * CF_D, a.channels}; }

__device__ __forceinline__ bool real(uint32_t part, int c) { return CF_D == kOwn * kSplit || static_cast<int>(part) * kOwn + c < CF_D; }

/// to = scale · the thread's part of its row.
__device__ __forceinline__ void load_row(const float* from, const Rows& r, const RowPlace& p, float scale, float to[kOwn]) {
  const float* at = from + r.first + uint64_t{p.row} * r.stride + p.part * kOwn;
  CF_UNROLL
  for (int c = 0; c < kOwn; ++c) to[c] = real(p.part, c) ? at[c] * scale : 0.0f;
}
__device__ __forceinline__ void store_row(float* to, const Rows& r, const RowPlace& p, float scale, const float from[kOwn]) {
  if (!p.there) return;
  float* at = to + r.first + uint64_t{p.row} * r.stride + p.part * kOwn;
  CF_UNROLL
  for (int c = 0; c < kOwn; ++c)
    if (real(p.part, c)) at[c] = from[c] * scale;
}
/// Rows [first, first + count) to shared memory, neighbouring threads neighbouring channels.
__device__ __forceinline__ void load_tile(const float* from, const Rows& r, uint32_t first, uint32_t count, float scale, float* tile) {
  for (uint32_t i = threadIdx.x; i < kTile * kOwn * kSplit; i += kThreads) {
    const uint32_t row = i / (kOwn * kSplit), c = i % (kOwn * kSplit);
    tile[row * kRow + c / kOwn * kPart + c % kOwn] = row < count && c < CF_D ? from[r.first + uint64_t{first + row} * r.stride + c] * scale : 0.0f;
  }
}

/// Over the threads of a row; all of them get the same bits.
__device__ __forceinline__ float parts_sum(float v) {
  CF_UNROLL
  for (int m = 1; m < kSplit; m *= 2) v += __shfl_xor_sync(kWholeWarp, v, m);
  return v;
}
/// Own channels · those of a row of a tile, in four chains.
__device__ __forceinline__ float dot(const float own[kOwn], const float* row) {
  float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  CF_UNROLL
  for (int c = 0; c < kOwn; c += 4) {
    const float4 v = *reinterpret_cast<const float4*>(row + c);
    s[0] += own[c] * v.x, s[1] += own[c + 1] * v.y, s[2] += own[c + 2] * v.z, s[3] += own[c + 3] * v.w;
  }
  return parts_sum((s[0] + s[1]) + (s[2] + s[3]));
}
__device__ __forceinline__ void add_scaled(float sum[kOwn], float w, const float* row) {
  CF_UNROLL
  for (int c = 0; c < kOwn; c += 4) {
    const float4 v = *reinterpret_cast<const float4*>(row + c);
    sum[c] += w * v.x, sum[c + 1] += w * v.y, sum[c + 2] += w * v.z, sum[c + 3] += w * v.w;
  }
}

/// Which of the 32 keys from `key` on a query keeps: its bits needn't begin with a word.
__device__ __forceinline__ uint32_t query_bits(const AttentionArgs& a, const RowPlace& p, uint32_t key) {
#if defined(CF_DROPOUT)
  const uint32_t at = p.row * a.length + key, word = at / 32, shift = at % 32;
  const uint32_t* words = a.kept + uint64_t{p.item} * a.words;
  const uint64_t above = word + 1 < a.words ? words[word + 1] : 0u;
  return static_cast<uint32_t>((above << 32 | words[word]) >> shift);
#else
  (void)a, (void)p, (void)key;
  return 0xffffffffu;
#endif
}

#endif

}  // namespace cf::cuda
