// Strided copies: how maps and reductions bring windows, permutations and broadcasts into contiguous tiles, and results back.
#pragma once
#include <cstddef>

#include "cpu/kernels/isa.h"

namespace cf::cpu {
using Copy2d = void (*)(const float* src, size_t src_row, size_t src_col, float* dst, size_t dst_row, size_t dst_col, size_t rows, size_t cols);
}

// dst[r·dst_row + c·dst_col] = src[r·src_row + c·src_col] for all r < rows, c < cols.
CF_DECLARE(void copy_2d(const float* src, size_t src_row, size_t src_col, float* dst, size_t dst_row, size_t dst_col, size_t rows, size_t cols);)
