// Inverse and log|det| of one small square matrix, in double and on one thread: the matrices of invertible 1 × 1 convolutions have tens of rows.
#include <cmath>
#include <utility>

#include "cpu/kernel.h"
#include "program/operands.h"

namespace cf::cpu {
namespace {

/// The row at or below k with the largest entry in column k.
size_t pivot(const double* a, size_t n, size_t width, size_t k) {
  size_t best = k;
  for (size_t i = k + 1; i < n; ++i)
    if (std::fabs(a[i * width + k]) > std::fabs(a[best * width + k])) best = i;
  return best;
}
void swap_rows(double* a, size_t width, size_t i, size_t j) {
  if (i == j) return;
  for (size_t c = 0; c < width; ++c) std::swap(a[i * width + c], a[j * width + c]);
}
/// Row i −= factor · row k, from column `from`.
void subtract(double* a, size_t width, size_t i, size_t k, double factor, size_t from) {
  const double* __restrict src = a + k * width;
  double* __restrict dst = a + i * width;
  for (size_t c = from; c < width; ++c) dst[c] -= factor * src[c];
}

class SmallMatrix : public Kernel {
 public:
  Price price() const override { return {200 + flops(), true}; }
  size_t scratch_bytes() const override { return n_ * width() * sizeof(double); }

 protected:
  SmallMatrix(const Operands& o, bool augmented) : augmented_(augmented) {
    in_ = o.input_of_rank(0, "matrix", 2);
    n_ = in_.dims[0];
    o.input(0, "matrix", {n_, n_});
  }
  size_t width() const { return augmented_ ? 2 * n_ : n_; }
  double* load(const Run& run) const {
    double* a = reinterpret_cast<double*>(run.scratch());
    const float* in = run.f32(in_);
    for (size_t i = 0; i < n_; ++i)
      for (size_t j = 0; j < n_; ++j) a[i * width() + j] = in[i * n_ + j];
    return a;
  }

  Tensor in_;
  size_t n_;
  bool augmented_;
};

/// Gauss–Jordan on [A | 1]. A zero pivot divides: a singular matrix gives infinities and NaN.
class MatrixInverse final : public SmallMatrix {
 public:
  explicit MatrixInverse(const Operands& o) : SmallMatrix(o, true), out_(o.output(0, "inverse", {n_, n_})) {}
  double flops() const override { return 3.0 * static_cast<double>(n_ * n_) * static_cast<double>(n_); }
  void run(const Run& run) const override {
    double* a = load(run);
    const size_t w = width();
    for (size_t i = 0; i < n_; ++i)
      for (size_t j = 0; j < n_; ++j) a[i * w + n_ + j] = i == j;
    for (size_t k = 0; k < n_; ++k) {
      swap_rows(a, w, k, pivot(a, n_, w, k));
      const double p = a[k * w + k];
      for (size_t c = k; c < w; ++c) a[k * w + c] /= p;
      for (size_t i = 0; i < n_; ++i)
        if (i != k) subtract(a, w, i, k, a[i * w + k], k + 1);
    }
    float* out = run.f32(out_);
    for (size_t i = 0; i < n_; ++i)
      for (size_t j = 0; j < n_; ++j) out[i * n_ + j] = static_cast<float>(a[i * w + n_ + j]);
  }

 private:
  Tensor out_;
};

class LogAbsDet final : public SmallMatrix {
 public:
  explicit LogAbsDet(const Operands& o) : SmallMatrix(o, false), out_(o.output(0, "log|det|", {1})) {}
  double flops() const override { return 2.0 / 3.0 * static_cast<double>(n_ * n_) * static_cast<double>(n_); }
  void run(const Run& run) const override {
    double* a = load(run);
    double sum = 0;
    for (size_t k = 0; k < n_; ++k) {
      swap_rows(a, n_, k, pivot(a, n_, n_, k));
      const double p = a[k * n_ + k];
      sum += std::log(std::fabs(p));
      if (p == 0) break;  // singular: −∞, whatever follows
      for (size_t i = k + 1; i < n_; ++i) subtract(a, n_, i, k, a[i * n_ + k] / p, k + 1);
    }
    *run.f32(out_) = static_cast<float>(sum);
  }

 private:
  Tensor out_;
};

}  // namespace

std::unique_ptr<Kernel> make_matrix_inverse(const Program& program, const Instr& instr, const Device&) {
  return std::make_unique<MatrixInverse>(Operands(program, instr, 1, 1, 0));
}
std::unique_ptr<Kernel> make_log_abs_det(const Program& program, const Instr& instr, const Device&) {
  return std::make_unique<LogAbsDet>(Operands(program, instr, 1, 1, 0));
}

}  // namespace cf::cpu
