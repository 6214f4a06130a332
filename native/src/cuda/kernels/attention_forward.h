// out and lse: scores in base 2, a few keys at a time, relative to the largest so far.
#pragma once
#include "cuda/kernels/attention.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::AttentionArgs a) {
  using namespace cf::cuda;
  constexpr int kStep = 16 / kOwnRows;  // the largest score and what was summed before are adapted once for each of these
  __align__(16) __shared__ float keys[kTile * kRow], values[kTile * kRow];
  const RowPlace p = place_of(a);
  const Rows key = third(a, p, kKey), value = third(a, p, kValue);
  float query[kOwnRows][kOwn], sum[kOwnRows][kOwn] = {}, largest[kOwnRows], total[kOwnRows];
  load_rows(a.kvq, third(a, p, kQuery), p, a.scale * kLog2e, query);
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) largest[r] = -INFINITY, total[r] = 0.0f;
  for (uint32_t first = 0; first < a.length; first += kTile) {
    const uint32_t count = min(static_cast<uint32_t>(kTile), a.length - first);
    __syncthreads();
    load_tile(a.kvq, key, first, count, 1.0f, keys);
    load_tile(a.kvq, value, first, count, 1.0f, values);
    __syncthreads();
    uint32_t bits[kOwnRows];
    CF_UNROLL
    for (int r = 0; r < kOwnRows; ++r) bits[r] = query_bits(a, p, r, first);
    CF_ROLLED
    for (uint32_t step = 0; step < count; step += kStep) {
      const float *k = keys + step * kRow + p.part * kPart, *v = values + step * kRow + p.part * kPart;
      float score[kOwnRows][kStep];
      CF_UNROLL
      for (int j = 0; j < kStep; ++j) {
        float vector[kOwn];
        load_part(k + j * kRow, vector);
        CF_UNROLL
        for (int r = 0; r < kOwnRows; ++r) {
          const float found = dot(query[r], vector);
          score[r][j] = step + j < count ? found : -INFINITY;
        }
      }
      CF_UNROLL
      for (int r = 0; r < kOwnRows; ++r) {
        float most = largest[r];
        CF_UNROLL
        for (int j = 0; j < kStep; ++j) most = fmaxf(most, score[r][j]);
        const float shrink = exp2f(largest[r] - most);
        largest[r] = most, total[r] *= shrink;
        CF_UNROLL
        for (int c = 0; c < kOwn; ++c) sum[r][c] *= shrink;
        CF_UNROLL
        for (int j = 0; j < kStep; ++j) {
          const float weight = exp2f(score[r][j] - most);
          total[r] += weight;
          score[r][j] = bits[r] >> (step + j) & 1 ? weight : 0.0f;
        }
      }
      CF_UNROLL
      for (int j = 0; j < kStep; ++j) {
        float vector[kOwn];
        load_part(v + j * kRow, vector);
        CF_UNROLL
        for (int r = 0; r < kOwnRows; ++r) add_scaled(sum[r], score[r][j], vector);
      }
    }
  }
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) {
    store_row(a.out, whole(a, p), p, r, a.dropout_scale / total[r], sum[r]);
    if (p.there[r] && p.part == 0) a.lse[uint64_t{p.item} * a.length + p.row[r]] = (largest[r] + log2f(total[r])) * kLn2;
  }
}
#endif
