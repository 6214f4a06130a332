// Expressions in the encoding, and what they are worth in double.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "op_harness.h"
#include "program_builder.h"

namespace cf::test {

inline double reference(ExprOp op, double a, double b, double c) {
  switch (op) {
    case ExprOp::add: return a + b;
    case ExprOp::sub: return a - b;
    case ExprOp::mul: return a * b;
    case ExprOp::div: return a / b;
    case ExprOp::neg: return -a;
    case ExprOp::abs: return std::fabs(a);
    case ExprOp::max: return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case ExprOp::min: return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
    case ExprOp::exp: return std::exp(a);
    case ExprOp::log: return std::log(a);
    case ExprOp::expm1: return std::expm1(a);
    case ExprOp::log1p: return std::log1p(a);
    case ExprOp::sqrt: return std::sqrt(a);
    case ExprOp::rsqrt: return 1 / std::sqrt(a);
    case ExprOp::recip: return 1 / a;
    case ExprOp::tanh: return std::tanh(a);
    case ExprOp::sigmoid: return 1 / (1 + std::exp(-a));
    case ExprOp::softplus: return a > 0 ? a + std::log1p(std::exp(-a)) : std::log1p(std::exp(a));
    case ExprOp::lt: return a < b;
    case ExprOp::le: return a <= b;
    case ExprOp::eq: return a == b;
    case ExprOp::select: return a != 0 ? b : c;
    case ExprOp::is_finite: return std::isfinite(a);
    case ExprOp::floor: return std::floor(a);
    case ExprOp::elu: return a > 0 ? a : std::expm1(a);
  }
  return NAN;
}

/// An expression in the encoding, and its value.
struct RandomExpression {
  std::vector<float> constants;
  std::vector<std::array<uint32_t, 4>> steps;
  std::vector<uint32_t> results;

  std::vector<uint32_t> words() const {
    std::vector<uint32_t> w{static_cast<uint32_t>(constants.size())};
    for (float c : constants) w.push_back(bits(c));
    w.push_back(static_cast<uint32_t>(steps.size()));
    for (const auto& s : steps) w.insert(w.end(), s.begin(), s.end());
    w.insert(w.end(), results.begin(), results.end());
    return w;
  }
  std::vector<double> values(std::vector<double> v) const {
    for (float c : constants) v.push_back(static_cast<double>(c));
    for (const auto& s : steps) v.push_back(reference(static_cast<ExprOp>(s[0]), v[s[1]], v[s[2]], v[s[3]]));
    std::vector<double> out;
    for (uint32_t r : results) out.push_back(v[r]);
    return out;
  }
};

/// Bounded values in, bounded values out: comparisons and floor see inputs only, where they are exact.
inline RandomExpression random_expression(Random& random, uint32_t inputs, uint32_t outputs) {
  RandomExpression e;
  for (uint32_t i = random() % 3; i > 0; --i) e.constants.push_back(static_cast<float>(random() % 7) * 0.5f - 1.5f);
  const uint32_t leaves = inputs + static_cast<uint32_t>(e.constants.size());
  const ExprOp exact[] = {ExprOp::lt, ExprOp::le, ExprOp::eq, ExprOp::is_finite, ExprOp::floor, ExprOp::select};
  const ExprOp smooth[] = {ExprOp::add, ExprOp::sub, ExprOp::mul, ExprOp::max, ExprOp::min, ExprOp::neg, ExprOp::abs, ExprOp::tanh, ExprOp::sigmoid, ExprOp::softplus, ExprOp::elu};
  uint32_t known = leaves;
  if (leaves == 0) e.constants.push_back(0.25f), known = 1;
  const uint32_t first = known;
  for (uint32_t s = random() % 7; s > 0; --s, ++known) {
    const bool on_leaves = random() % 4 == 0;
    const ExprOp op = on_leaves ? exact[random() % 6] : smooth[random() % 11];
    const uint32_t limit = on_leaves ? first : known;
    const uint32_t a = random() % limit, b = random() % limit, c = random() % limit;
    e.steps.push_back({static_cast<uint32_t>(op), a, b, c});
    // Products of products would leave the range in which an absolute tolerance means something.
    if (op == ExprOp::mul || op == ExprOp::add || op == ExprOp::sub) e.steps.push_back({static_cast<uint32_t>(ExprOp::tanh), known++, 0, 0});
  }
  for (uint32_t j = 0; j < outputs; ++j) e.results.push_back(random() % 2 ? known - 1 : random() % known);
  return e;
}

}  // namespace cf::test
