// Softmax attention, one head of one image at a time. Lanes are queries: scores, softmax and products then need neither horizontal sums nor padding of the
// small head size, and all that is ever in memory of the L × L scores is a block of queries (forward) or of queries and keys (gradient).
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct AttentionShape {
  size_t images, length, heads, head;  ///< head: channels of one head

  size_t channels() const { return heads * head; }
  size_t items() const { return images * heads; }
};

constexpr size_t kQueryBlock = 32;  ///< at most: two vectors of the widest instruction set
constexpr size_t kKeyBlock = 64;    ///< of the gradient: two blocks of scores and their keys stay in the first-level cache

/// Weight (h, i, j) is kept when its draw's upper 24 bits reach `threshold`; 0 keeps all.
struct AttentionDropout {
  uint32_t threshold;
  float scale;  ///< 1 / (1 − p)
  uint32_t seed, iteration, first_sample, stream, loop;
};

struct AttentionArgs {
  AttentionShape shape;
  AttentionDropout dropout;
  const float* kvq;
  float* out;  ///< read by the gradient
  float* lse;  ///< read by the gradient
  const float* dout;
  float* dkvq;
};

/// Scratch floats per thread.
inline size_t attention_scratch_floats(const AttentionShape& s) { return 2 * s.length * s.head + (2 * s.head + s.length + kKeyBlock) * kQueryBlock + 64; }
inline size_t attention_grad_scratch_floats(const AttentionShape& s) {
  const size_t padded = (s.head + 15) / 16 * 16;
  return 2 * s.length * s.head + 2 * s.length * padded + (3 * s.head + 2 * padded + 3 * kKeyBlock + 2) * kQueryBlock + 64;
}

}  // namespace cf::cpu

// Items [begin, end): image · heads + head. `scratch` is aligned to 64 bytes.
CF_DECLARE(void attention_items(const AttentionArgs& args, size_t begin, size_t end, float* scratch);
           void attention_grad_items(const AttentionArgs& args, size_t begin, size_t end, float* scratch);)
