// Products whose both operands have the summed dimension contiguous, for a few rows: vectors run along the sum, so that neither operand is rearranged.
#pragma once
#include "cpu/kernels/isa.h"

CF_DECLARE(
    /// c[i·ldc + j] = Σk a[i·lda + k]·b[j·ldb + k] (+ bias[j], which may be null), i < m, j < n.
    void gemm_dot(const float* a, size_t lda, const float* b, size_t ldb, const float* bias, float* c, size_t ldc, size_t m, size_t n, size_t k);)
