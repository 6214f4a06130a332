// The transforms of Winograd's F(4×4, 3×3): y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A on 6×6 tiles d of the input that overlap by two, one 4×4 tile of the output each
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", section 4.3). In NHWC a vector is a run of channels, so no transform needs a shuffle.
// Between the transforms are 36 matrix products (gemm.h), a quarter of the multiplications of the direct convolution.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

/// A tile of an NHWC image at any distance from its border.
struct WinogradTile {
  size_t row, pixel;           ///< strides in floats
  int top, bottom, left, right;  ///< the part of the tile inside the image: rows [top, bottom), columns [left, right)
};

}  // namespace cf::cpu

CF_DECLARE(
    /// v[k·k_stride + c/p·block + c%p] = (Bᵀ d B)_k for each channel c, p = panel_width; d is the 6×6 tile at x (which may point outside the image, where d is 0).
    /// Writes zeros up to a multiple of the vector width.
    void winograd_input(const float* x, const WinogradTile& tile, size_t channels, float* v, size_t k_stride, size_t block);
    /// y = Aᵀ m A + bias (null: none), rows and columns of the 4×4 tile inside the image only.
    void winograd_output(const float* m, size_t k_stride, size_t channels, const float* bias, float* y, const WinogradTile& tile);
    /// The adjoint of winograd_output: z[k·k_stride + c] = (A d Aᵀ)_k; d is the 4×4 tile at dy.
    void winograd_output_adjoint(const float* dy, const WinogradTile& tile, size_t channels, float* z, size_t k_stride);
    /// U = G w Gᵀ for produced channels [p·panel, p·panel + p) and summed channels [c0, c1): U[36][B/p][A][p], zero-padded, p = panel_width.
    /// `w` [O, I, 3, 3]; forward sums over I, data_grad over O with the kernel turned by 180°.
    void winograd_weights(const float* w, size_t o, size_t i, bool data_grad, size_t panel, size_t c0, size_t c1, float* u);
    /// The same for produced channels [32·panel, 32·panel + 32) and summed channels [32·block, 32·block + 32), as parts for split_products:
    /// U[36][B/32][A/32][2 halves of the columns][3 parts][16 pairs of rows k and k + 16][16 columns][2].
    void winograd_weights_split(const float* w, size_t o, size_t i, bool data_grad, size_t panel, size_t block, char* u);
    /// The adjoint of G w Gᵀ: dw[c·9 + tap] = (Gᵀ m G)_tap for each channel, m[k·k_stride + c].
    void winograd_weights_adjoint(const float* m, size_t k_stride, size_t channels, float* dw);)
