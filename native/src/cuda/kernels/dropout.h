// Which attention weights dropout keeps, as bits; the draws of common/philox.h.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

struct DropoutArgs {
  const uint32_t* key;    ///< seed, iteration, first sample
  const uint32_t* loops;  ///< null: not in a loop; else the counter of the loop that the draws follow
  uint32_t* kept;         ///< [items, words]
  uint32_t images, heads, length, words;  ///< words of an item
  uint32_t threshold, stream;
};

#if defined(CF_KERNEL)

/// Bit i: is draw first + i of `count` ≤ 32 kept? Draws have 16 bits, eight to a Philox block.
__device__ __forceinline__ uint32_t kept_bits(uint32_t first, uint32_t count, uint32_t threshold, uint32_t seed, uint32_t stream, uint32_t sample, uint32_t iteration,
                                              uint32_t loop) {
  uint32_t bits = 0;
  for (uint32_t block = first >> 3; block <= (first + count - 1) >> 3; ++block) {
    uint32_t words[4];
    philox_at(seed, stream, block, sample, iteration, loop, words);
    CF_UNROLL
    for (uint32_t e = 0; e < 8; ++e) {
      const uint32_t at = 8 * block + e - first;  // wraps round below `first`
      if (at < count && half_from(words, e) >= threshold) bits |= 1u << at;
    }
  }
  return bits;
}

#endif

}  // namespace cf::cuda

#if defined(CF_KERNEL) && defined(CF_DROPOUT_KERNEL)
// A thread a word.
CF_KERNEL(const cf::cuda::DropoutArgs a) {
  const uint64_t index = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const auto item = static_cast<uint32_t>(index / a.words), word = static_cast<uint32_t>(index % a.words), image = item / a.heads, head = item % a.heads;
  if (image >= a.images) return;
  const uint32_t all = a.length * a.length, count = min(32u, all - 32 * word);
  a.kept[index] = cf::cuda::kept_bits(head * all + 32 * word, count, a.threshold, a.key[0], a.stream, a.key[2] + image, a.key[1], a.loops ? a.loops[0] : 0u);
}
#endif
