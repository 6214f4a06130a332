// Gradient of attention. The weights are made again from the scores and their log-sum-exp; with D = dout·out per query,
//   dscore = weight·(dweight − D),   dq = scale·Σ dscore·k,   dk = scale·Σ dscore·q,   dv = Σ weight·dout.
#include "cpu/kernels/attention.h"
#include "cpu/kernels/attention_core.h"

namespace cf::cpu::CF_ISA {
namespace {

/// From `count` rows of scores (s) and dout·values (g): weights as applied into s, score gradients into g. keep: what dropout keeps, or null.
template <int kV>
CF_INLINE void grad_block(size_t count, const float* keep, float scale, const float* lse, const float* share, float* s, float* g) {
  for (size_t j = 0; j < count; ++j)
    for (int v = 0; v < kV; ++v) {
      const size_t at = (j * kV + static_cast<size_t>(v)) * kWidth;
      // Rounding can bring a score above the sum of all.
      const vf p = exp2_clamped(vmin(vf{}, load(s + at) - load(lse + v * kWidth)));
      const vf factor = keep ? as_float(as_int(splat(scale)) & as_int(load(keep + at))) : splat(1.0f);
      store(s + at, p * factor);
      store(g + at, p * (load(g + at) * factor - load(share + v * kWidth)));
    }
}

template <int kV>
void item(const AttentionArgs& a, size_t image, size_t head, float* scratch) {
  const AttentionShape& sh = a.shape;
  const size_t d = sh.head, c = sh.channels(), length = sh.length, padded = (d + kWidth - 1) / kWidth * kWidth;
  constexpr size_t kLanes = kV * kWidth;
  float* at = scratch;
  auto take = [&](size_t n) __attribute__((always_inline)) {
    float* p = at;
    at += n;
    return p;
  };
  float *dkeys = take(length * padded), *dvalues = take(length * padded);
  float *q = take(kLanes * padded), *g = take(kLanes * padded);
  float *qt = take(d * kLanes), *gt = take(d * kLanes), *dqt = take(d * kLanes);
  float *s = take(kKeyBlock * kLanes), *ds = take(kKeyBlock * kLanes), *keep = take(kKeyBlock * kLanes), *lse = take(kLanes), *share = take(kLanes);
  float *keys = take(length * d), *values = take(length * d);
  const PhiloxKey key = attention_key(a, image);
  const float* rows = a.kvq + image * length * 3 * c + head * d;
  copy_rows(rows, 3 * c, length, d, keys);
  copy_rows(rows + c, 3 * c, length, d, values);
  for (size_t i = 0; i < 2 * length * padded; ++i) dkeys[i] = 0.0f;
  for (size_t i = 0; i < 2 * kLanes * padded; ++i) q[i] = 0.0f;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  for (size_t i0 = 0; i0 < length; i0 += kLanes) {
    const size_t queries = length - i0 < kLanes ? length - i0 : kLanes;
    const float *qs = rows + 2 * c + i0 * 3 * c, *gs = a.dout + (image * length + i0) * c + head * d, *out = a.out + (image * length + i0) * c + head * d;
    transpose_rows(qs, 3 * c, queries, d, scale * kLog2e, kLanes, qt);
    transpose_rows(gs, c, queries, d, 1.0f, kLanes, gt);
    for (size_t i = 0; i < kLanes; ++i) {
      // Lanes without a query: zero rows, and a log-sum-exp that makes their weights vanish.
      const bool real = i < queries;
      float sum = 0.0f;
      for (size_t k = 0; k < d; ++k) {
        q[i * padded + k] = real ? qs[i * 3 * c + k] * scale : 0.0f;
        g[i * padded + k] = real ? gs[i * c + k] : 0.0f;
        if (real) sum += gs[i * c + k] * out[i * c + k];
      }
      share[i] = sum;
      lse[i] = real ? a.lse[(image * sh.heads + head) * length + i0 + i] * kLog2e : 1.0e30f;
    }
    for (size_t k = 0; k < d * kV; ++k) store(dqt + k * kWidth, vf{});
    const AttentionMask mask = attention_mask(a, key, head, i0);
    for (size_t j = 0; j < length; j += kKeyBlock) {
      const size_t count = length - j < kKeyBlock ? length - j : kKeyBlock;
      scores<kV>(keys + j * d, count, qt, d, s);
      scores<kV>(values + j * d, count, gt, d, ds);
      if (a.dropout.threshold) keep_block<kV>(mask, a.dropout.threshold, j, count, keep);
      grad_block<kV>(count, a.dropout.threshold ? keep : nullptr, a.dropout.scale, lse, share, s, ds);
      gather<kV>(keys + j * d, ds, count, d, dqt);
      spread(s, count, kLanes, g, padded, dvalues + j * padded);
      spread(ds, count, kLanes, q, padded, dkeys + j * padded);
    }
    float* dq = a.dkvq + (image * length + i0) * 3 * c + 2 * c + head * d;
    for (size_t i = 0; i < queries; ++i)
      for (size_t k = 0; k < d; ++k) dq[i * 3 * c + k] = dqt[k * kLanes + i] * scale;
  }
  float* dk = a.dkvq + image * length * 3 * c + head * d;
  for (size_t j = 0; j < length; ++j)
    for (size_t k = 0; k < d; ++k) {
      dk[j * 3 * c + k] = dkeys[j * padded + k];
      dk[j * 3 * c + c + k] = dvalues[j * padded + k];
    }
}

}  // namespace

void attention_grad_items(const AttentionArgs& args, size_t begin, size_t end, float* scratch) {
  for (size_t index = begin; index < end; ++index) {
    const size_t image = index / args.shape.heads, head = index % args.shape.heads;
    if (args.shape.length > static_cast<size_t>(kWidth))
      item<2>(args, image, head, scratch);
    else
      item<1>(args, image, head, scratch);
  }
}

}  // namespace cf::cpu::CF_ISA
