// dk = scale·Σ dscore·q and dv = Σ weight·dout, a key's threads going through the queries (attention_queries_grad.h has the formulas).
#pragma once
#include "cuda/kernels/attention.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::AttentionArgs a) {
  using namespace cf::cuda;
  __align__(16) __shared__ float queries[kTile * kRow], douts[kTile * kRow];
  __shared__ float lses[kTile], shares[kTile];
  const RowPlace p = place_of(a);
  const Rows key_rows = third(a, p, kKey), value_rows = third(a, p, kValue), query = third(a, p, kQuery), dout = whole(a, p);
  float key[kOwn], value[kOwn], dkey[kOwn] = {}, dvalue[kOwn] = {};
  load_row(a.kvq, key_rows, p, 1.0f, key);
  load_row(a.kvq, value_rows, p, a.dropout_scale, value);
  for (uint32_t first = 0; first < a.length; first += kTile) {
    const uint32_t count = min(static_cast<uint32_t>(kTile), a.length - first);
    __syncthreads();
    load_tile(a.kvq, query, first, count, a.scale * kLog2e, queries);
    load_tile(a.dout, dout, first, count, 1.0f, douts);
    if (threadIdx.x < count) {
      const uint64_t at = uint64_t{p.item} * a.length + first + threadIdx.x;
      lses[threadIdx.x] = a.lse[at] * kLog2e, shares[threadIdx.x] = a.shares[at];
    }
    __syncthreads();
    for (uint32_t i = 0; i < count; ++i) {
      const float *q = queries + i * kRow + p.part * kPart, *g = douts + i * kRow + p.part * kPart;
      const float weight = exp2f(dot(key, q) - lses[i]), dweight = dot(value, g);
#if defined(CF_DROPOUT)
      const uint32_t bit = (first + i) * a.length + p.row;
      const bool keep = a.kept[uint64_t{p.item} * a.words + bit / 32] >> bit % 32 & 1;
#else
      constexpr bool keep = true;
#endif
      add_scaled(dvalue, keep ? weight : 0.0f, g);
      add_scaled(dkey, weight * ((keep ? dweight : 0.0f) - shares[i]), q);
    }
  }
  // The queries came with scale·log₂e.
  store_row(a.dkvq, key_rows, p, kLn2, dkey);
  store_row(a.dkvq, value_rows, p, a.dropout_scale, dvalue);
}
#endif
