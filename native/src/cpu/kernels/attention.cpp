#include "cpu/kernels/attention.h"

#include "cpu/kernels/attention_core.h"

namespace cf::cpu::CF_ISA {
namespace {

/// Exponentials of `count` rows of scores in place, dropped where `keep` says (null: none); their sums before dropping are added to `sum`.
template <int kV>
CF_INLINE void softmax_block(size_t count, const float* keep, const vf* largest, vf* sum, float* s) {
  for (size_t j = 0; j < count; ++j)
    for (int v = 0; v < kV; ++v) {
      const size_t at = (j * kV + static_cast<size_t>(v)) * kWidth;
      const vf e = exp2_clamped(load(s + at) - largest[v]);
      sum[v] += e;
      store(s + at, keep ? as_float(as_int(e) & as_int(load(keep + at))) : e);
    }
}

template <int kV>
void item(const AttentionArgs& a, size_t image, size_t head, float* scratch) {
  const AttentionShape& sh = a.shape;
  const size_t d = sh.head, c = sh.channels(), length = sh.length;
  constexpr size_t kLanes = kV * kWidth;
  float *keys = scratch, *values = keys + length * d, *qt = scratch + (2 * length * d + 15) / 16 * 16, *ct = qt + d * kLanes, *s = ct + d * kLanes, *keep = s + length * kLanes;
  const PhiloxKey key = attention_key(a, image);
  const float* rows = a.kvq + image * length * 3 * c + head * d;
  copy_rows(rows, 3 * c, length, d, keys);
  copy_rows(rows + c, 3 * c, length, d, values);
  // Scores in base 2, where exponentials are cheaper.
  const float scale = kLog2e / __builtin_sqrtf(static_cast<float>(d));
  for (size_t i0 = 0; i0 < length; i0 += kLanes) {
    const size_t queries = length - i0 < kLanes ? length - i0 : kLanes;
    transpose_rows(rows + 2 * c + i0 * 3 * c, 3 * c, queries, d, scale, kLanes, qt);
    scores<kV>(keys, length, qt, d, s);
    vf largest[kV], sum[kV] = {};
    for (int v = 0; v < kV; ++v) largest[v] = load(s + v * kWidth);
    for (size_t j = 1; j < length; ++j)
      for (int v = 0; v < kV; ++v) largest[v] = vmax(largest[v], load(s + (j * kV + static_cast<size_t>(v)) * kWidth));
    for (size_t k = 0; k < d * kV; ++k) store(ct + k * kWidth, vf{});
    const AttentionMask mask = attention_mask(a, key, head, i0);
    for (size_t j = 0; j < length; j += kKeyBlock) {  // in blocks, so that the weights are still near when they meet the values
      const size_t end = j + kKeyBlock < length ? j + kKeyBlock : length;
      if (a.dropout.threshold) keep_block<kV>(mask, a.dropout.threshold, j, end - j, keep);
      softmax_block<kV>(end - j, a.dropout.threshold ? keep : nullptr, largest, sum, s + j * kLanes);
      gather<kV>(values + j * d, s + j * kLanes, end - j, d, ct);
    }
    float lse[kLanes];
    for (int v = 0; v < kV; ++v) {
      store(lse + v * kWidth, (largest[v] + vlog(sum[v]) * splat(kLog2e)) * splat(kLn2));
      const vf share = splat(a.dropout.scale) / sum[v];
      for (size_t k = 0; k < d; ++k) {
        float* at = ct + (k * kV + static_cast<size_t>(v)) * kWidth;
        store(at, load(at) * share);
      }
    }
    float* out = a.out + (image * length + i0) * c + head * d;
    for (size_t i = 0; i < queries; ++i) {
      a.lse[(image * sh.heads + head) * length + i0 + i] = lse[i];
      for (size_t k = 0; k < d; ++k) out[i * c + k] = ct[k * kLanes + i];
    }
  }
}

}  // namespace

void attention_items(const AttentionArgs& args, size_t begin, size_t end, float* scratch) {
  for (size_t index = begin; index < end; ++index) {
    const size_t image = index / args.shape.heads, head = index % args.shape.heads;
    if (args.shape.length > static_cast<size_t>(kWidth))
      item<2>(args, image, head, scratch);
    else
      item<1>(args, image, head, scratch);
  }
}

}  // namespace cf::cpu::CF_ISA
