// Softmax attention and its gradient without the L × L weights in memory: a row of them (a query's, or a key's) belongs to CF_SPLIT neighbouring threads, which
// keep its vectors in registers, CF_D / CF_SPLIT channels each, and go through the other side in tiles of 32 in shared memory. All rows of a warp read the same
// vector there at a time. Shared memory gives a thread 4 bytes a cycle, so that with one row a thread multiply-adds would wait for it: each has CF_ROWS rows,
// for which it reads a vector once.
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
constexpr int kThreads = CF_THREADS, kOwnRows = CF_ROWS, kApart = CF_THREADS / CF_SPLIT;
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

/// The block's item (image and head), the thread's rows and its part of the channels.
struct RowPlace {
  uint32_t item, image, head;
  uint32_t row[kOwnRows];  ///< the last one where there is none
  uint32_t part;
  bool there[kOwnRows];
};
__device__ __forceinline__ RowPlace place_of(const AttentionArgs& a) {
  RowPlace p;
  p.item = blockIdx.x, p.image = p.item / a.heads, p.head = p.item - p.image * a.heads, p.part = threadIdx.x % kSplit;
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) {
    const uint32_t row = (blockIdx.y * kOwnRows + r) * kApart + threadIdx.x / kSplit;
    p.there[r] = row < a.length, p.row[r] = p.there[r] ? row : a.length - 1;
  }
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

/// to[r] = scale · the thread's part of its row r.
__device__ __forceinline__ void load_rows(const float* from, const Rows& rows, const RowPlace& p, float scale, float to[kOwnRows][kOwn]) {
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) {
    const float* at = from + rows.first + uint64_t{p.row[r]} * rows.stride + p.part * kOwn;
    CF_UNROLL
    for (int c = 0; c < kOwn; ++c) to[r][c] = real(p.part, c) ? at[c] * scale : 0.0f;
  }
}
__device__ __forceinline__ void store_row(float* to, const Rows& rows, const RowPlace& p, int r, float scale, const float from[kOwn]) {
  if (!p.there[r]) return;
  float* at = to + rows.first + uint64_t{p.row[r]} * rows.stride + p.part * kOwn;
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
/// The thread's part of a row of a tile.
__device__ __forceinline__ void load_part(const float* row, float to[kOwn]) {
  CF_UNROLL
  for (int c = 0; c < kOwn; c += 4) {
    const float4 v = *reinterpret_cast<const float4*>(row + c);
    to[c] = v.x, to[c + 1] = v.y, to[c + 2] = v.z, to[c + 3] = v.w;
  }
}
/// In two chains.
__device__ __forceinline__ float dot(const float a[kOwn], const float b[kOwn]) {
  float even = 0.0f, odd = 0.0f;
  CF_UNROLL
  for (int c = 0; c < kOwn; c += 2) even += a[c] * b[c], odd += a[c + 1] * b[c + 1];
  return parts_sum(even + odd);
}
__device__ __forceinline__ void add_scaled(float sum[kOwn], float w, const float v[kOwn]) {
  CF_UNROLL
  for (int c = 0; c < kOwn; ++c) sum[c] += w * v[c];
}

/// Which of the 32 keys from `key` on the thread's query r keeps: its bits needn't begin with a word.
__device__ __forceinline__ uint32_t query_bits(const AttentionArgs& a, const RowPlace& p, int r, uint32_t key) {
#if defined(CF_DROPOUT)
  const uint32_t at = p.row[r] * a.length + key, word = at / 32, shift = at % 32;
  const uint32_t* words = a.kept + uint64_t{p.item} * a.words;
  const uint64_t above = word + 1 < a.words ? words[word + 1] : 0u;
  return static_cast<uint32_t>((above << 32 | words[word]) >> shift);
#else
  (void)a, (void)p, (void)r, (void)key;
  return 0xffffffffu;
#endif
}

#endif

}  // namespace cf::cuda
