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
  float query[kOwnRows][kOwn], dout[kOwnRows][kOwn], sum[kOwnRows][kOwn], share[kOwnRows], lse[kOwnRows];
  load_rows(a.out, whole(a, p), p, 1.0f, sum);
  load_rows(a.dout, whole(a, p), p, 1.0f, dout);
  load_rows(a.kvq, query_rows, p, a.scale * kLog2e, query);
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) {
    share[r] = dot(dout[r], sum[r]);
    const uint64_t at = uint64_t{p.item} * a.length + p.row[r];
    lse[r] = a.lse[at] * kLog2e;
    if (p.there[r] && p.part == 0) a.shares[at] = share[r];
    CF_UNROLL
    for (int c = 0; c < kOwn; ++c) sum[r][c] = 0.0f;
  }
  for (uint32_t first = 0; first < a.length; first += kTile) {
    const uint32_t count = min(static_cast<uint32_t>(kTile), a.length - first);
    __syncthreads();
    load_tile(a.kvq, key, first, count, 1.0f, keys);
    load_tile(a.kvq, value, first, count, a.dropout_scale, values);
    __syncthreads();
    uint32_t bits[kOwnRows];
    CF_UNROLL
    for (int r = 0; r < kOwnRows; ++r) bits[r] = query_bits(a, p, r, first);
    for (uint32_t j = 0; j < count; ++j) {
      float k[kOwn], v[kOwn];
      load_part(keys + j * kRow + p.part * kPart, k);
      load_part(values + j * kRow + p.part * kPart, v);
      CF_UNROLL
      for (int r = 0; r < kOwnRows; ++r) {
        const float weight = exp2f(dot(query[r], k) - lse[r]), dweight = dot(dout[r], v);
        add_scaled(sum[r], weight * ((bits[r] >> j & 1 ? dweight : 0.0f) - share[r]), k);
      }
    }
  }
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) store_row(a.dkvq, query_rows, p, r, a.scale, sum[r]);
}
#endif
