#include "cpu/kernels/gemm_dot.h"

#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

// Four rows of A by two of B: eight accumulators hide the latency of a multiply-add, and each vector of B (the large operand) is loaded once.
constexpr int kB = 2;

template <int R>
void tile(const float* a, size_t lda, const float* b, size_t ldb, int nb, const float* bias, float* c, size_t ldc, size_t k) {
  vf acc[R][kB];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) acc[i][0] = acc[i][1] = vf{};
  const float* second = nb > 1 ? b + ldb : b;
  size_t x = 0;
  for (; x + kWidth <= k; x += kWidth) {
    const vf b0 = load(b + x), b1 = load(second + x);
    // The weights come from memory, once.
    __builtin_prefetch(b + x + 512);
    __builtin_prefetch(second + x + 512);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const vf v = load(a + static_cast<size_t>(i) * lda + x);
      acc[i][0] = fma(v, b0, acc[i][0]);
      acc[i][1] = fma(v, b1, acc[i][1]);
    }
  }
  if (x < k) {
    const int rest = static_cast<int>(k - x);
    const vf b0 = load_first(b + x, rest), b1 = load_first(second + x, rest);
    for (int i = 0; i < R; ++i) {
      const vf v = load_first(a + static_cast<size_t>(i) * lda + x, rest);
      acc[i][0] = fma(v, b0, acc[i][0]);
      acc[i][1] = fma(v, b1, acc[i][1]);
    }
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < nb; ++j) c[static_cast<size_t>(i) * ldc + j] = hsum(acc[i][j]) + (bias ? bias[j] : 0.0f);
}

}  // namespace

void gemm_dot(const float* a, size_t lda, const float* b, size_t ldb, const float* bias, float* c, size_t ldc, size_t m, size_t n, size_t k) {
  for (size_t j = 0; j < n; j += kB) {
    const int nb = n - j < kB ? 1 : kB;
    const float *from = b + j * ldb, *shift = bias ? bias + j : nullptr;
    size_t i = 0;
    for (; i + 4 <= m; i += 4) tile<4>(a + i * lda, lda, from, ldb, nb, shift, c + i * ldc + j, ldc, k);
    for (; i < m; ++i) tile<1>(a + i * lda, lda, from, ldb, nb, shift, c + i * ldc + j, ldc, k);
  }
}

}  // namespace cf::cpu::CF_ISA
