// Softmax attention, one head of one image (an item) at a time. Only blocks of the L × L scores are ever in memory, small enough for the first-level cache.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct AttentionShape {
  size_t images, length, heads, head;  ///< head: channels of one head

  size_t channels() const { return heads * head; }
  size_t items() const { return images * heads; }
  /// Words of an item's kept bits: bit i·L + j for query i and key j.
  size_t kept_words() const { return (length * length + 31) / 32; }
};

constexpr size_t kAttentionGrain = 32;  ///< queries or keys that a thread takes at once: whole vectors, and rows of kept bits that end with a word
constexpr size_t kAttentionRows = 64;   ///< the other side of a block of scores

/// Weight (h, i, j) is kept when its draw of 16 bits reaches `threshold`; 0 keeps all.
struct AttentionDropout {
  uint32_t threshold;
  float scale;  ///< 1 / (1 − p)
  uint32_t seed, iteration, first_sample, stream, loop;
};

struct AttentionArgs {
  AttentionShape shape;
  AttentionDropout dropout;
  const float* kvq;
  float* out;      ///< read by the gradient, as are the next two
  float* lse;
  uint32_t* kept;  ///< null without dropout
  const float* dout;
  float* dkvq;
};

inline size_t attention_padded(size_t n) { return (n + 15) / 16 * 16; }

/// Scratch floats per thread.
inline size_t attention_scratch_floats(const AttentionShape& s) {
  return 2 * attention_padded(s.length * s.head) + attention_padded(s.head) + (2 * s.head + kAttentionRows) * kAttentionGrain;
}
inline size_t attention_grad_scratch_floats(const AttentionShape& s) {
  return 2 * attention_padded(s.length * s.head) + 2 * attention_padded(s.length) + (4 * s.head + attention_padded(s.head) + 2 * kAttentionRows) * kAttentionGrain;
}
/// The gradient of an item's queries, before it is scaled.
inline size_t attention_query_grad_floats(const AttentionShape& s) { return s.length * attention_padded(s.head); }

}  // namespace cf::cpu

// Item: image · heads + head. Ranges begin at multiples of kAttentionGrain. `scratch` is aligned to 64 bytes.
CF_DECLARE(
    /// out, lse and kept of queries [begin, end).
    void attention_queries(const AttentionArgs& args, size_t item, size_t begin, size_t end, float* scratch);
    /// dk and dv of keys [begin, end), and their part of dq.
    void attention_grad_keys(const AttentionArgs& args, size_t item, size_t begin, size_t end, float* dq, float* scratch);
    /// dq as the sum of `parts` results of attention_grad_keys, one behind the other.
    void attention_grad_queries(const AttentionArgs& args, size_t item, const float* dq, size_t parts);)
