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
  const size_t d = sh.head, c = sh.channels(), length = sh.length, row = channel_row(d), item = image * sh.heads + head, words = sh.kept_words();
  constexpr size_t kLanes = kV * kWidth;
  static_assert(kLanes <= 32, "a row's kept bits are one word");
  Pieces pieces{scratch};
  float *q = pieces.take(length * d), *g = pieces.take(length * d), *lse = pieces.take(length), *share = pieces.take(length);
  float *kt = pieces.take(d * kLanes), *vt = pieces.take(d * kLanes), *dkt = pieces.take(d * kLanes), *dvt = pieces.take(d * kLanes);
  float *k = pieces.take(row * kLanes), *p = pieces.take(kAttentionRows * kLanes), *ds = pieces.take(kAttentionRows * kLanes);
  const float *rows = a.kvq + image * length * 3 * c + head * d, *out = a.out + image * length * c + head * d, *dout = a.dout + image * length * c + head * d;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  copy_rows(rows + 2 * c, 3 * c, length, d, scale * kLog2e, q, d);
  copy_rows(dout, c, length, d, 1.0f, g, d);
  row_products(dout, out, c, length, d, share);
  for (size_t i = 0; i < length; ++i) lse[i] = a.lse[item * length + i] * -kLog2e;
  const uint32_t* kept = kDropout ? a.kept + item * words : nullptr;
  vi bit[kV];
  for (int v = 0; v < kV; ++v) bit[v] = (vi)((vu)splat_i(1) << (vu)(iota() + splat_i(v * kWidth)));
  for (size_t i = 0; i < length * row; ++i) dq[i] = 0.0f;
  for (size_t j0 = begin; j0 < end; j0 += kLanes) {
    const size_t count = end - j0 < kLanes ? end - j0 : kLanes;
    to_lanes(rows + j0 * 3 * c, 3 * c, count, d, 1.0f, kLanes, kt);
    to_lanes(rows + c + j0 * 3 * c, 3 * c, count, d, a.dropout.scale, kLanes, vt);
    copy_rows(rows + j0 * 3 * c, 3 * c, count, d, 1.0f, k, row);
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
            const vi bits = splat_i(kDropout ? static_cast<int32_t>(stream_bits(kept, words, i * length + j0)) : 0);
            for (int v = 0; v < kV; ++v) {
              const size_t at = ((i - i0) * kV + static_cast<size_t>(v)) * kWidth;
              const vf w = load(p + at);
              vf dw = x[v];
              if (kDropout) {
                const vi keep = (bits & bit[v]) == bit[v];
                dw = as_float(as_int(dw) & keep);
                store(p + at, as_float(as_int(w) & keep));
              }
              store(ds + at, w * (dw - splat(share[i])));
            }
          });
      gather<kV>(g + i0 * d, p, i1 - i0, d, dvt);
      gather<kV>(q + i0 * d, ds, i1 - i0, d, dkt);
      spread(ds, i1 - i0, kLanes, count, k, row, dq + i0 * row);
    }
    float* dk = a.dkvq + (image * length + j0) * 3 * c + head * d;
    transpose(dkt, kLanes, d, count, kLn2, dk, 3 * c);
    transpose(dvt, kLanes, d, count, a.dropout.scale, dk + c, 3 * c);
  }
}

}  // namespace

void attention_grad_keys(const AttentionArgs& args, size_t item, size_t begin, size_t end, float* dq, float* scratch) {
  const size_t image = item / args.shape.heads, head = item % args.shape.heads;
  args.dropout.threshold ? keys<2, true>(args, image, head, begin, end, dq, scratch) : keys<2, false>(args, image, head, begin, end, dq, scratch);
}

void attention_grad_queries(const AttentionArgs& args, size_t item, const float* dq, size_t parts) {
  const AttentionShape& sh = args.shape;
  const size_t d = sh.head, c = sh.channels(), row = channel_row(d), each = attention_query_grad_floats(sh);
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  float* to = args.dkvq + item / sh.heads * sh.length * 3 * c + 2 * c + item % sh.heads * d;
  for (size_t i = 0; i < sh.length; ++i) {
    for (size_t e = 0; e < d; e += kStrip) {
      vs sum{};
      for (size_t part = 0; part < parts; ++part) sum += load_strip(dq + part * each + i * row + e);
      sum *= splat_strip(scale);
      if (e + kStrip <= d) store_strip(to + i * 3 * c + e, sum);
      else for (size_t k = e; k < d; ++k) to[i * 3 * c + k] = sum[k - e];
    }
  }
}

}  // namespace cf::cpu::CF_ISA
