// Inverse and log|det|: random and permuted matrices, scales, singular ones.
#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

void test_size(uint32_t n, std::mt19937& g) {
  Array a = normal({n, n}, g), inverse({n, n}), det({1});
  DenseOp(Op::matrix_inverse, cpu::make_matrix_inverse, {&a}, {&inverse}, {}, device(cpu::Isa::portable, 2)).run();
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&a}, {&det}, {}, device(cpu::Isa::portable, 2)).run();
  // A·A⁻¹ = 1 within the rounding of the result to float32.
  double worst = 0, size = 0;
  for (float x : inverse.data) size = std::fmax(size, std::fabs(x));
  double entry = 0;
  for (float x : a.data) entry = std::fmax(entry, std::fabs(x));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      double s = i == j ? -1 : 0;
      for (size_t k = 0; k < n; ++k) s += static_cast<double>(a[i * n + k]) * inverse[k * n + j];
      worst = std::fmax(worst, std::fabs(s));
    }
  check(worst < 1e-7 * size * entry * n, "inverse of %u: A·A⁻¹ − 1 is %g", n, worst);
  // det(A)·det(A⁻¹) = 1, and scaling a row by 2 adds ln 2.
  Array back({1}), scaled = a, moved({1});
  for (size_t j = 0; j < n; ++j) scaled[j] *= 2;
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&inverse}, {&back}, {}, device(cpu::Isa::portable, 1)).run();
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&scaled}, {&moved}, {}, device(cpu::Isa::portable, 1)).run();
  check(std::fabs(det[0] + back[0]) < 1e-4 * (1 + std::fabs(det[0])), "log|det| of %u: %g and %g", n, static_cast<double>(det[0]), static_cast<double>(back[0]));
  check(std::fabs(moved[0] - det[0] - 0.6931472f) < 3e-6f * (1 + std::fabs(det[0])), "log|det| of a scaled row");
}

void test_known() {
  // A permutation with signs and scales needs pivoting at once.
  Array a({3, 3}), inverse({3, 3}), det({1});
  a[1] = 2, a[5] = -4, a[6] = 0.5f;
  DenseOp(Op::matrix_inverse, cpu::make_matrix_inverse, {&a}, {&inverse}, {}, device(cpu::Isa::portable, 1)).run();
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&a}, {&det}, {}, device(cpu::Isa::portable, 1)).run();
  check(inverse[2] == 2 && inverse[3] == 0.5f && inverse[7] == -0.25f && inverse[0] == 0, "inverse of a permutation");
  check(std::fabs(det[0] - std::log(4.0f)) < 1e-7f, "log|det| of a permutation");
  Array singular({2, 2}), none({2, 2});
  for (size_t i = 0; i < 4; ++i) singular[i] = 1;
  DenseOp(Op::matrix_inverse, cpu::make_matrix_inverse, {&singular}, {&none}, {}, device(cpu::Isa::portable, 1)).run();
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&singular}, {&det}, {}, device(cpu::Isa::portable, 1)).run();
  check(!std::isfinite(none[0]) && det[0] == -INFINITY, "a singular matrix must give infinities");
  Array nan({2, 2});
  nan[0] = NAN, nan[3] = 1;
  DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&nan}, {&det}, {}, device(cpu::Isa::portable, 1)).run();
  check(std::isnan(det[0]), "NaN was lost");
  Array wide({2, 3});
  check(refused([&] { DenseOp(Op::log_abs_det, cpu::make_log_abs_det, {&wide}, {&det}, {}, device(cpu::Isa::portable, 1)); }), "a matrix that is not square was accepted");
}

}  // namespace

int main() {
  std::mt19937 g(9);
  for (uint32_t n : {1u, 2u, 3u, 6u, 12u, 24u, 48u, 128u}) test_size(n, g);
  test_known();
  return finish("small_matrix");
}
