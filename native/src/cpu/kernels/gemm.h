// The register-tile product that matrix products and both kinds of convolution are made of.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

/// Width of a panel of B: the columns of a register tile, stored together so that the inner loop reads B straight through. Always divides 32.
constexpr size_t panel_width(Isa isa) { return isa >= Isa::avx512 ? 32 : isa == Isa::avx2 ? 16 : 8; }

/// C[m, n] = A·B (+ bias) or C += A·B.
struct GemmArgs {
  /// A in `segments` pieces along k, each k_segment long: element (i, s, c) is a[s][i·a_row + c·a_k]; a_row or a_k is 1.
  /// (One segment is an ordinary matrix; a convolution has one per row of its kernel.)
  const float* const* a;
  size_t segments, k_segment;
  size_t a_row, a_k;
  /// Column j of row k of B is b[(j / p)·b_panel + k·b_row + j % p], p = panel_width: panels (b_row = p), or a plain matrix (b_panel = p) if n is a
  /// multiple of p, because whole panels are read.
  const float* b;
  size_t b_panel, b_row;
  float* c;
  size_t ldc;
  size_t m, n;
  const float* bias;  ///< [n] or null; ignored when accumulating
  bool accumulate;
  /// Where B is far (in memory): the panel read after this B, else null. Then each panel is asked for during the product with the one before it, evenly over all
  /// its rows of A: asked for a page ahead it would come as fast as the first rows want it, which is faster than it can, and nothing would come during the others.
  const float* next_b = nullptr;
};

}  // namespace cf::cpu

CF_DECLARE(void gemm(const GemmArgs& args);
           /// B[k, n] with strides (b_k, b_n) to panels, zero beyond n. Panels lie k·panel_width apart.
           void gemm_pack(const float* b, size_t b_k, size_t b_n, size_t k, size_t n, float* panels);)
