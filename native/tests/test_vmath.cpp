// The vector functions against double precision, in units in the last place, on every instruction set: through expressions of one step.
#include "cpu/kernels/expr.h"
#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

struct Function {
  const char* name;
  ExprOp op;
  double (*exact)(double);
  double ulps;
};
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double softplus(double x) { return std::isnan(x) ? x : (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }

constexpr float kSmallest = 1.17549435e-38f;

/// Distance in units in the last place of the exact result; denormal results may be zero.
double distance(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9;
  if (std::fabs(exact) > 3.40282356e38) return std::isinf(got) && (got > 0) == (exact > 0) ? 0 : 1e9;
  if (std::fabs(exact) < kSmallest) return std::fabs(got) <= kSmallest ? 0 : 1e9;
  int e;
  std::frexp(exact, &e);
  return std::fabs(got - exact) / std::ldexp(1.0, e - 24);
}

std::vector<float> arguments() {
  std::vector<float> x{0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1, -1, 0.5f, 1e-30f, -1e-30f, 88.7228f, 88.73f, -87.33f, -87.34f, 104, -104, 3.4e38f, -3.4e38f, kSmallest, 1 - 0x1p-24f, -1 + 0x1p-24f, 0x1p24f};
  for (uint64_t b = 0; b < 1u << 31; b += 65519)  // every exponent, either sign
    for (uint32_t sign : {0u, 1u << 31}) {
      const uint32_t bits = static_cast<uint32_t>(b) | sign;
      float f;
      std::memcpy(&f, &bits, 4);
      if (!std::isnan(f) && (f == 0 || std::fabs(f) >= kSmallest)) x.push_back(f);
    }
  for (int i = -40000; i < 40000; ++i) {  // where the action is
    x.push_back(static_cast<float>(i) * 0.00031f);
    x.push_back(1 + static_cast<float>(i) * 1e-5f);
  }
  return x;
}

void test_function(const Function& f, const std::vector<float>& x) {
  const uint32_t words[] = {0, 1, static_cast<uint32_t>(f.op), 0, 0, 0, 1};
  const cpu::Expr e = cpu::parse_expr(words, 7, 1, 1, "test");
  std::vector<float> y(x.size()), scratch(cpu::expr_scratch_floats(e) + 64);
  for (cpu::Isa isa : isas()) {
    const float* in[] = {x.data()};
    float* out[] = {y.data()};
    const uint8_t broadcast[] = {0};
    CF_PICK(isa, expr_run)(e, in, broadcast, out, x.size(), scratch.data());
    double worst = 0;
    float at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = distance(y[i], f.exact(x[i]));
      if (d > worst) worst = d, at = x[i];
    }
    check(worst <= f.ulps, "%s: off by %g ulp at %.9g (instruction set %d)", f.name, worst, static_cast<double>(at), static_cast<int>(isa));
    // The last elements of an array take another path: the same bits must come out of it.
    for (size_t n : {1, 3, 7, 15, 17, 31}) {
      std::vector<float> few(n);
      const float* in_few[] = {x.data() + 30};
      float* out_few[] = {few.data()};
      CF_PICK(isa, expr_run)(e, in_few, broadcast, out_few, n, scratch.data());
      check(std::memcmp(few.data(), y.data() + 30, n * 4) == 0, "%s: %zu elements differ from many", f.name, n);
    }
  }
}

/// elu(x) and elu(−x) of one expression share their exponential: the bits must be those of each alone, whatever comes first and whoever else reads −x.
void test_elus(const std::vector<float>& x) {
  const uint32_t neg = static_cast<uint32_t>(ExprOp::neg), elu = static_cast<uint32_t>(ExprOp::elu);
  struct Case {
    const char* name;
    std::vector<uint32_t> words;
    std::vector<int> signs;  ///< per result: of x in its elu; 0: the result is −x
    size_t steps;            ///< of the interpreter
  };
  const Case cases[] = {
      {"elu(x), elu(-x)", {0, 3, elu, 0, 0, 0, neg, 0, 0, 0, elu, 2, 0, 0, 1, 3}, {1, -1}, 1},
      {"elu(-x), elu(x)", {0, 3, neg, 0, 0, 0, elu, 1, 0, 0, elu, 0, 0, 0, 2, 3}, {-1, 1}, 1},
      {"-x too", {0, 3, neg, 0, 0, 0, elu, 0, 0, 0, elu, 1, 0, 0, 2, 1, 3}, {1, 0, -1}, 2},
      {"elu(-x) alone", {0, 2, neg, 0, 0, 0, elu, 1, 0, 0, 2}, {-1}, 2},
  };
  std::vector<float> minus(x);
  for (float& v : minus) v = -v;
  const uint32_t alone[] = {0, 1, elu, 0, 0, 0, 1};
  const cpu::Expr lone = cpu::parse_expr(alone, 7, 1, 1, "test");
  const uint8_t broadcast[] = {0};
  for (const Case& c : cases) {
    const cpu::Expr e = cpu::parse_expr(c.words.data(), c.words.size(), 1, static_cast<uint32_t>(c.signs.size()), "test");
    check(e.steps.size() == c.steps, "%s: %zu steps", c.name, e.steps.size());
    std::vector<float> scratch(cpu::expr_scratch_floats(e) + cpu::expr_scratch_floats(lone) + 64), expected(x.size());
    for (cpu::Isa isa : isas()) {
      std::vector<std::vector<float>> results(c.signs.size(), std::vector<float>(x.size()));
      const float* in[] = {x.data()};
      float* out[3];
      for (size_t j = 0; j < results.size(); ++j) out[j] = results[j].data();
      CF_PICK(isa, expr_run)(e, in, broadcast, out, x.size(), scratch.data());
      for (size_t j = 0; j < results.size(); ++j) {
        const float* from[] = {c.signs[j] > 0 ? x.data() : minus.data()};
        float* to[] = {expected.data()};
        if (c.signs[j] == 0) expected = minus;
        else CF_PICK(isa, expr_run)(lone, from, broadcast, to, x.size(), scratch.data());
        check(std::memcmp(expected.data(), results[j].data(), 4 * x.size()) == 0, "%s: result %zu differs (instruction set %d)", c.name, j, static_cast<int>(isa));
      }
    }
  }
}

}  // namespace

int main() {
  const std::vector<float> x = arguments();
  const Function functions[] = {
      {"exp", ExprOp::exp, std::exp, 2},
      {"expm1", ExprOp::expm1, std::expm1, 2},
      {"log", ExprOp::log, std::log, 2},
      {"log1p", ExprOp::log1p, std::log1p, 2},
      {"tanh", ExprOp::tanh, std::tanh, 4},
      {"sigmoid", ExprOp::sigmoid, sigmoid, 4},
      {"softplus", ExprOp::softplus, softplus, 4},
      {"sqrt", ExprOp::sqrt, std::sqrt, 0.5},
      {"rsqrt", ExprOp::rsqrt, [](double v) { return 1 / std::sqrt(v); }, 2},
      {"recip", ExprOp::recip, [](double v) { return 1 / v; }, 0.5},
      {"floor", ExprOp::floor, std::floor, 0},
      {"elu", ExprOp::elu, [](double v) { return v > 0 ? v : std::expm1(v); }, 2},
  };
  for (const Function& f : functions) test_function(f, x);
  test_elus(x);
  return finish("vmath");
}
