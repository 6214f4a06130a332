// Float32 products on hardware that multiplies tiles of bfloat16 (Intel's AMX): sixteen times as many multiplications a cycle as float32's vectors have.
// A float32 is the exact sum of three bfloat16 with eight bits of its significand each, a = a₀ + a₁ + a₂. Of the nine products of parts the six of at least
// 2⁻¹⁶ of the whole are summed, in float32: a·b = a₀b₀ + a₀b₁ + a₁b₀ + a₁b₁ + a₀b₂ + a₂b₀, which leaves out 2⁻²¹ at most, 2⁻²⁵ on the average.
// (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations".)
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

/// C_p[rows, 32·panels] = A_p·B_p for each plane p.
struct SplitProducts {
  size_t planes, rows, depth, panels;
  const float* a;  ///< plane p, row i: a[p·a_plane + i·a_row], `depth` contiguous
  size_t a_plane, a_row;
  const float* b;  ///< plane p, panels of panel_width (gemm.h) columns, b_panel apart; rows up to a multiple of 16 are there, zero
  size_t b_plane, b_panel;
  const char* b_parts;  ///< or null: B split before (winograd_weights_split), panel `first_panel` on of `panels_of_plane`; then b is not read
  size_t first_panel, panels_of_plane;
  float* c;
  size_t c_plane, c_row;
};

/// So much of the depth is split at a time: parts of a panel of B stay in the first-level cache or near it.
constexpr size_t kMostSplitDepth = 256;

/// Room that split_products needs for the parts of its operands.
constexpr size_t split_products_bytes(size_t rows, size_t depth) {
  const size_t deep = ((depth < kMostSplitDepth ? depth : kMostSplitDepth) + 31) / 32, tall = (rows + 15) / 16;
  return 2 * 3 * 1024 * deep * (tall + 2);
}

}  // namespace cf::cpu

CF_DECLARE(
    /// `room`: split_products_bytes, 64-byte aligned. With AVX-512 the processor has to have AMX; elsewhere tiles are emulated, for tests.
    void split_products(const SplitProducts& args, char* room);)
