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
  float key[kOwnRows][kOwn], value[kOwnRows][kOwn], dkey[kOwnRows][kOwn] = {}, dvalue[kOwnRows][kOwn] = {};
  load_rows(a.kvq, key_rows, p, 1.0f, key);
  load_rows(a.kvq, value_rows, p, a.dropout_scale, value);
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
      float q[kOwn], g[kOwn];
      load_part(queries + i * kRow + p.part * kPart, q);
      load_part(douts + i * kRow + p.part * kPart, g);
      const float lse = lses[i], share = shares[i];
      CF_UNROLL
      for (int r = 0; r < kOwnRows; ++r) {
        const float weight = exp2f(dot(key[r], q) - lse), dweight = dot(value[r], g);
#if defined(CF_DROPOUT)
        const uint32_t bit = (first + i) * a.length + p.row[r];
        const bool keep = a.kept[uint64_t{p.item} * a.words + bit / 32] >> bit % 32 & 1;
#else
        constexpr bool keep = true;
#endif
        add_scaled(dvalue[r], keep ? weight : 0.0f, g);
        add_scaled(dkey[r], weight * ((keep ? dweight : 0.0f) - share), q);
      }
    }
  }
  // The queries came with scale·log₂e.
  CF_UNROLL
  for (int r = 0; r < kOwnRows; ++r) {
    store_row(a.dkvq, key_rows, p, r, kLn2, dkey[r]);
    store_row(a.dkvq, value_rows, p, r, a.dropout_scale, dvalue[r]);
  }
}
#endif
