// dq, and dout·out of each query for the keys' pass. The weights are made again from the scores and their log-sum-exp; with D = dout·out,
//   dscore = weight·(dweight − D),   dq = scale·Σ dscore·k.
#pragma once
#include "cuda/kernels/attention.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::AttentionArgs a) {
  using namespace cf::cuda;
  __align__(16) __shared__ float keys[kTile * kRow], values[kTile * kRow];
  const RowPlace p = place_of(a);
  const Rows key = third(a, p, kKey), value = third(a, p, kValue), query_rows = third(a, p, kQuery);
  float query[kOwn], dout[kOwn], sum[kOwn], share = 0.0f;
  load_row(a.out, whole(a, p), p, 1.0f, sum);
  load_row(a.dout, whole(a, p), p, 1.0f, dout);
  CF_UNROLL
  for (int c = 0; c < kOwn; ++c) share += dout[c] * sum[c], sum[c] = 0.0f;
  share = parts_sum(share);
  load_row(a.kvq, query_rows, p, a.scale * kLog2e, query);
  const uint64_t at = uint64_t{p.item} * a.length + p.row;
  const float lse = a.lse[at] * kLog2e;
  if (p.there && p.part == 0) a.shares[at] = share;
  for (uint32_t first = 0; first < a.length; first += kTile) {
    const uint32_t count = min(static_cast<uint32_t>(kTile), a.length - first);
    __syncthreads();
    load_tile(a.kvq, key, first, count, 1.0f, keys);
    load_tile(a.kvq, value, first, count, a.dropout_scale, values);
    __syncthreads();
    const uint32_t bits = query_bits(a, p, first);
    for (uint32_t j = 0; j < count; ++j) {
      const float *k = keys + j * kRow + p.part * kPart, *v = values + j * kRow + p.part * kPart;
      const float weight = exp2f(dot(query, k) - lse), dweight = dot(dout, v);
      add_scaled(sum, weight * ((bits >> j & 1 ? dweight : 0.0f) - share), k);
    }
  }
  store_row(a.dkvq, query_rows, p, a.scale, sum);
}
#endif
