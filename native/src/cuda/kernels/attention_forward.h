// out and lse: scores in base 2, sixteen at a time, relative to the largest so far.
#pragma once
#include "cuda/kernels/attention.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::AttentionArgs a) {
  using namespace cf::cuda;
  constexpr int kStep = 16;  // the largest score and what was summed before are adapted once for each of these
  __align__(16) __shared__ float keys[kTile * kRow], values[kTile * kRow];
  const RowPlace p = place_of(a);
  const Rows key = third(a, p, kKey), value = third(a, p, kValue);
  float query[kOwn], sum[kOwn] = {}, largest = -INFINITY, total = 0.0f;
  load_row(a.kvq, third(a, p, kQuery), p, a.scale * kLog2e, query);
  for (uint32_t first = 0; first < a.length; first += kTile) {
    const uint32_t count = min(static_cast<uint32_t>(kTile), a.length - first);
    __syncthreads();
    load_tile(a.kvq, key, first, count, 1.0f, keys);
    load_tile(a.kvq, value, first, count, 1.0f, values);
    __syncthreads();
    const uint32_t bits = query_bits(a, p, first);
    for (uint32_t step = 0; step < count; step += kStep) {
      const float *k = keys + step * kRow + p.part * kPart, *v = values + step * kRow + p.part * kPart;
      float score[kStep], most = largest;
      CF_UNROLL
      for (int j = 0; j < kStep; ++j) {
        score[j] = step + j < count ? dot(query, k + j * kRow) : -INFINITY;
        most = fmaxf(most, score[j]);
      }
      const float shrink = exp2f(largest - most);
      largest = most, total *= shrink;
      CF_UNROLL
      for (int c = 0; c < kOwn; ++c) sum[c] *= shrink;
      CF_UNROLL
      for (int j = 0; j < kStep; ++j) {
        const float weight = exp2f(score[j] - largest);
        total += weight;
        add_scaled(sum, bits >> (step + j) & 1 ? weight : 0.0f, v + j * kRow);
      }
    }
  }
  store_row(a.out, whole(a, p), p, a.dropout_scale / total, sum);
  if (p.there && p.part == 0) a.lse[uint64_t{p.item} * a.length + p.row] = (largest + log2f(total)) * kLn2;
}
#endif
