// Philox draws in bulk. The numbers themselves are common/philox.h's; this only does many at a time.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct DrawKey {
  uint32_t seed, stream, iteration, loop, first_sample;
};

/// Draws of `elements` per sample need blocks_of(elements) counters each: four draws a counter.
inline size_t blocks_of(size_t elements) { return (elements + 3) / 4; }

}  // namespace cf::cpu

// Counters [begin, end) of the sequence (sample 0 block 0), (sample 0 block 1), …; out is [samples, elements] dense.
CF_DECLARE(void draw_uniform(const DrawKey& key, size_t elements, size_t begin, size_t end, float* out);
           void draw_normal(const DrawKey& key, size_t elements, size_t begin, size_t end, float* out);)
