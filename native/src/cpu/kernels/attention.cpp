#include "cpu/kernels/attention.h"

#include "cpu/kernels/attention_core.h"
#include "cpu/kernels/dropout.h"

namespace cf::cpu::CF_ISA {
namespace {

/// Scores in base 2 of at most this size need no maximum taken off: neither they nor their sums come near the range of floats.
constexpr float kSafeScore = 60.0f;

/// Lanes are queries: scores, softmax and products then need neither horizontal sums nor padding of the small head size.
template <int kV, bool kDropout>
void queries(const AttentionArgs& a, size_t image, size_t head, size_t begin, size_t end, float* scratch) {
  const AttentionShape& sh = a.shape;
  const size_t d = sh.head, c = sh.channels(), length = sh.length, item = image * sh.heads + head;
  constexpr size_t kLanes = kV * kWidth;
  Pieces pieces{scratch};
  float *keys = pieces.take(length * d), *values = pieces.take(length * d), *reach = pieces.take(d);
  float *qt = pieces.take(d * kLanes), *ct = pieces.take(d * kLanes), *s = pieces.take(kAttentionRows * kLanes);
  const float* rows = a.kvq + image * length * 3 * c + head * d;
  copy_rows(rows, 3 * c, length, d, 1.0f, keys, d);
  copy_rows(rows + c, 3 * c, length, d, 1.0f, values, d);
  uint32_t* kept = kDropout ? a.kept + item * sh.kept_words() : nullptr;
  const size_t words = (end * length + 31) / 32;  // what is behind them another thread may be writing
  if (kDropout) {
    const AttentionDropout& drop = a.dropout;
    const KeepKey key = keep_key(drop.threshold, drop.seed, drop.stream, drop.first_sample + static_cast<uint32_t>(image), drop.iteration, drop.loop);
    keep_stream(key, static_cast<uint32_t>((head * length + begin) * length), (end - begin) * length, kept + begin * length / 32);
  }
  // The largest size of each channel among the keys. Lanes beyond the head read the next row, or behind the keys, and are never looked at.
  for (size_t k = 0; k < d; k += kWidth) {
    vf most{};
    for (size_t j = 0; j < length; ++j) most = vmax(most, vabs(load(keys + j * d + k)));
    store(reach + k, most);
  }
  // Scores in base 2, where exponentials are cheaper.
  const float scale = kLog2e / __builtin_sqrtf(static_cast<float>(d));
  for (size_t i0 = begin; i0 < end; i0 += kLanes) {
    const size_t count = end - i0 < kLanes ? end - i0 : kLanes;
    to_lanes(rows + 2 * c + i0 * 3 * c, 3 * c, count, d, scale, kLanes, qt);
    vf bound[kV] = {}, largest[kV] = {}, sum[kV] = {};
    for (size_t k = 0; k < d; ++k)
      for (int v = 0; v < kV; ++v) bound[v] = fma(vabs(load(qt + (k * kV + static_cast<size_t>(v)) * kWidth)), splat(reach[k]), bound[v]);
    bool safe = true;
    for (int v = 0; v < kV; ++v) safe = safe && !any(~(bound[v] <= splat(kSafeScore)));
    if (!safe) {
      for (int v = 0; v < kV; ++v) largest[v] = splat(-kInf);
      scores<kV>(
          keys, 0, length, qt, d, [](size_t, int) { return vf{}; },
          [&](size_t, const vf* x) {
            for (int v = 0; v < kV; ++v) largest[v] = vmax(largest[v], x[v]);
          });
    }
    vf start[kV];
    for (int v = 0; v < kV; ++v) start[v] = vf{} - largest[v];
    for (size_t k = 0; k < d * kV; ++k) store(ct + k * kWidth, vf{});
    for (size_t block = 0; block < length; block += kAttentionRows) {
      const size_t last = block + kAttentionRows < length ? block + kAttentionRows : length;
      for (size_t j0 = block; j0 < last; j0 += 32) {
        const size_t j1 = j0 + 32 < last ? j0 + 32 : last;
        vi bits[kV] = {};
        if (kDropout) {
          uint32_t lane[kLanes] = {};
          for (size_t i = 0; i < count; ++i) lane[i] = stream_bits(kept, words, (i0 + i) * length + j0);
          for (int v = 0; v < kV; ++v) bits[v] = load(lane + v * kWidth);
        }
        scores<kV>(
            keys, j0, j1, qt, d, [&](size_t, int v) __attribute__((always_inline)) { return start[v]; },
            [&](size_t j, const vf* x) __attribute__((always_inline)) {
              const vi bit = splat_i(static_cast<int32_t>(1u << (j - j0)));
              for (int v = 0; v < kV; ++v) {
                const vf e = exp2_clamped(x[v]);
                sum[v] += e;
                store(s + ((j - block) * kV + static_cast<size_t>(v)) * kWidth, kDropout ? as_float(as_int(e) & ((bits[v] & bit) == bit)) : e);
              }
            });
      }
      gather<kV>(values + block * d, s, last - block, d, ct);
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
    transpose(ct, kLanes, d, count, 1.0f, a.out + (image * length + i0) * c + head * d, c);
    for (size_t i = 0; i < count; ++i) a.lse[item * length + i0 + i] = lse[i];
  }
}

}  // namespace

void attention_queries(const AttentionArgs& args, size_t item, size_t begin, size_t end, float* scratch) {
  const size_t image = item / args.shape.heads, head = item % args.shape.heads;
  args.dropout.threshold ? queries<2, true>(args, image, head, begin, end, scratch) : queries<2, false>(args, image, head, begin, end, scratch);
}

}  // namespace cf::cpu::CF_ISA
