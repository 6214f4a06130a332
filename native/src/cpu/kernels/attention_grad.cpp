// Gradient of attention. The weights are made again from the scores and their log-sum-exp; with D = dout·out per query,
//   dscore = weight·(dweight − D),   dq = scale·Σ dscore·k,   dk = scale·Σ dscore·q,   dv = Σ weight·dout.
#include "cpu/kernels/attention.h"
#include "cpu/kernels/attention_core.h"

namespace cf::cpu::CF_ISA {
namespace {

/// Lanes are keys: dk and dv then are sums over rows, as scores are sums over channels, and only dq is left to be a product with channels as lanes.
template <int kV, bool kDropout>
void keys(const AttentionArgs& a, size_t image, size_t head, size_t begin, size_t end, float* dq, float* scratch) {
  const AttentionShape& sh = a.shape;
  const size_t d = sh.head, c = sh.channels(), length = sh.length, padded = (d + kWidth - 1) / kWidth * kWidth, item = image * sh.heads + head, words = sh.kept_words();
  constexpr size_t kLanes = kV * kWidth;
  static_assert(kLanes <= 32, "a row's kept bits are one word");
  Pieces pieces{scratch};
  float *q = pieces.take(length * d), *g = pieces.take(length * d), *lse = pieces.take(length), *share = pieces.take(length);
  float *kt = pieces.take(d * kLanes), *vt = pieces.take(d * kLanes), *dkt = pieces.take(d * kLanes), *dvt = pieces.take(d * kLanes);
  float *k = pieces.take(padded * kLanes), *p = pieces.take(kAttentionRows * kLanes), *ds = pieces.take(kAttentionRows * kLanes);
  const float *rows = a.kvq + image * length * 3 * c + head * d, *out = a.out + image * length * c + head * d, *dout = a.dout + image * length * c + head * d;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  copy_rows(rows + 2 * c, 3 * c, length, d, scale * kLog2e, q);
  copy_rows(dout, c, length, d, 1.0f, g);
  for (size_t i = 0; i < length; ++i) {
    float sum = 0.0f;
    for (size_t e = 0; e < d; ++e) sum += dout[i * c + e] * out[i * c + e];
    share[i] = sum;
    lse[i] = a.lse[item * length + i] * -kLog2e;
  }
  const uint32_t* kept = kDropout ? a.kept + item * words : nullptr;
  vi bit[kV];
  for (int v = 0; v < kV; ++v) bit[v] = (vi)((vu)splat_i(1) << (vu)(iota() + splat_i(v * kWidth)));
  for (size_t i = 0; i < length * padded; ++i) dq[i] = 0.0f;
  for (size_t j0 = begin; j0 < end; j0 += kLanes) {
    const size_t count = end - j0 < kLanes ? end - j0 : kLanes;
    transpose_rows(rows + j0 * 3 * c, 3 * c, count, d, 1.0f, kLanes, kt);
    transpose_rows(rows + c + j0 * 3 * c, 3 * c, count, d, a.dropout.scale, kLanes, vt);
    for (size_t j = 0; j < count; ++j)
      for (size_t e = 0; e < padded; ++e) k[j * padded + e] = e < d ? kt[e * kLanes + j] : 0.0f;
    for (size_t e = 0; e < d * kV; ++e) store(dkt + e * kWidth, vf{}), store(dvt + e * kWidth, vf{});
    for (size_t i0 = 0; i0 < length; i0 += kAttentionRows) {
      const size_t i1 = i0 + kAttentionRows < length ? i0 + kAttentionRows : length;
      scores<kV>(
          q, i0, i1, kt, d, [&](size_t i, int) __attribute__((always_inline)) { return splat(lse[i]); },
          [&](size_t i, const vf* x) __attribute__((always_inline)) {
            for (int v = 0; v < kV; ++v) store(p + ((i - i0) * kV + static_cast<size_t>(v)) * kWidth, exp2_clamped(x[v]));
          });
      scores<kV>(
          g, i0, i1, vt, d, [](size_t, int) __attribute__((always_inline)) { return vf{}; },
          [&](size_t i, const vf* x) __attribute__((always_inline)) {
            const vi row = splat_i(kDropout ? static_cast<int32_t>(stream_bits(kept, words, i * length + j0)) : 0);
            for (int v = 0; v < kV; ++v) {
              const size_t at = ((i - i0) * kV + static_cast<size_t>(v)) * kWidth;
              const vf w = load(p + at);
              vf dw = x[v];
              if (kDropout) {
                const vi keep = (row & bit[v]) == bit[v];
                dw = as_float(as_int(dw) & keep);
                store(p + at, as_float(as_int(w) & keep));
              }
              store(ds + at, w * (dw - splat(share[i])));
            }
          });
      gather<kV>(g + i0 * d, p, i1 - i0, d, dvt);
      gather<kV>(q + i0 * d, ds, i1 - i0, d, dkt);
      spread(ds, i1 - i0, kLanes, count, k, padded, dq + i0 * padded);
    }
    float* dk = a.dkvq + (image * length + j0) * 3 * c + head * d;
    for (size_t j = 0; j < count; ++j)
      for (size_t e = 0; e < d; ++e) {
        dk[j * 3 * c + e] = dkt[e * kLanes + j] * kLn2;
        dk[j * 3 * c + c + e] = dvt[e * kLanes + j] * a.dropout.scale;
      }
  }
}

}  // namespace

void attention_grad_keys(const AttentionArgs& args, size_t item, size_t begin, size_t end, float* dq, float* scratch) {
  const size_t image = item / args.shape.heads, head = item % args.shape.heads;
  args.dropout.threshold ? keys<2, true>(args, image, head, begin, end, dq, scratch) : keys<2, false>(args, image, head, begin, end, dq, scratch);
}

void attention_grad_queries(const AttentionArgs& args, size_t item, const float* dq, size_t parts) {
  const AttentionShape& sh = args.shape;
  const size_t d = sh.head, c = sh.channels(), padded = (d + kWidth - 1) / kWidth * kWidth, each = attention_query_grad_floats(sh);
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  float* to = args.dkvq + item / sh.heads * sh.length * 3 * c + 2 * c + item % sh.heads * d;
  for (size_t i = 0; i < sh.length; ++i)
    for (size_t e = 0; e < d; ++e) {
      float sum = 0.0f;
      for (size_t part = 0; part < parts; ++part) sum += dq[part * each + i * padded + e];
      to[i * 3 * c + e] = sum * scale;
    }
}

}  // namespace cf::cpu::CF_ISA
