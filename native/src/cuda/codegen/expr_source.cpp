#include "cuda/codegen/expr_source.h"

#include <cstdio>
#include <vector>

namespace cf::cuda {
namespace {

std::string constant(uint32_t bits) {
  char text[32];
  std::snprintf(text, sizeof text, "op::constant(0x%08xu)", bits);
  return text;
}

std::string operation(ExprOp op, const std::string& a, const std::string& b, const std::string& c) {
  const auto call = [&](const char* f) { return std::string(f) + "(" + a + ")"; };
  switch (op) {
    case ExprOp::add: return a + " + " + b;
    case ExprOp::sub: return a + " - " + b;
    case ExprOp::mul: return "op::mul(" + a + ", " + b + ")";
    case ExprOp::div: return a + " / " + b;
    case ExprOp::neg: return "-" + a;
    case ExprOp::abs: return call("fabsf");
    case ExprOp::max: return "op::max(" + a + ", " + b + ")";
    case ExprOp::min: return "op::min(" + a + ", " + b + ")";
    case ExprOp::exp: return call("expf");
    case ExprOp::log: return call("logf");
    case ExprOp::expm1: return call("expm1f");
    case ExprOp::log1p: return call("log1pf");
    case ExprOp::sqrt: return call("sqrtf");
    case ExprOp::rsqrt: return call("op::rsqrt");
    case ExprOp::recip: return "1.0f / " + a;
    case ExprOp::tanh: return call("tanhf");
    case ExprOp::sigmoid: return call("op::sigmoid");
    case ExprOp::softplus: return call("op::softplus");
    case ExprOp::lt: return "op::truth(" + a + " < " + b + ")";
    case ExprOp::le: return "op::truth(" + a + " <= " + b + ")";
    case ExprOp::eq: return "op::truth(" + a + " == " + b + ")";
    case ExprOp::select: return a + " != 0.0f ? " + b + " : " + c;
    case ExprOp::is_finite: return "op::truth(op::is_finite(" + a + "))";
    case ExprOp::floor: return call("floorf");
    case ExprOp::elu: return call("op::elu");
  }
  return "";
}

/// Per value id: whether a result depends on it.
std::vector<bool> needed_values(const Expression& e) {
  std::vector<bool> needed(e.first_step() + e.steps.size());
  for (const uint32_t r : e.results) needed[r] = true;
  for (size_t s = e.steps.size(); s-- > 0;) {
    if (!needed[e.first_step() + s]) continue;
    const uint16_t ids[3] = {e.steps[s].a, e.steps[s].b, e.steps[s].c};
    for (uint32_t k = 0; k < e.steps[s].arity; ++k) needed[ids[k]] = true;
  }
  return needed;
}

}  // namespace

std::string expression_source(const Expression& e, const std::string& name) {
  const uint32_t first = e.first_step();
  // A value that no result needs would be a compiler's warning.
  const std::vector<bool> needed = needed_values(e);
  const auto value = [&](uint32_t id) {
    if (id < e.inputs) return "x[" + std::to_string(id) + "]";
    if (id < first) return constant(e.constants[id - e.inputs]);
    return "v" + std::to_string(id - first);
  };
  bool reads = false;
  for (uint32_t i = 0; i < e.inputs; ++i) reads = reads || needed[i];
  std::string text = "__device__ __forceinline__ void " + name + "(const float*" + (reads ? " x" : "") + ", float* y) {\n";
  for (size_t s = 0; s < e.steps.size(); ++s)
    if (needed[first + s]) {
      const Expression::Step& step = e.steps[s];
      text += "  const float v" + std::to_string(s) + " = " + operation(step.op, value(step.a), value(step.b), value(step.c)) + ";\n";
    }
  for (size_t j = 0; j < e.results.size(); ++j) text += "  y[" + std::to_string(j) + "] = " + value(e.results[j]) + ";\n";
  return text + "}\n";
}

Expression without_unused(const Expression& e, std::vector<uint32_t>& kept) {
  const std::vector<bool> used = needed_values(e);
  Expression out = e;
  kept.clear();
  std::vector<uint32_t> id(e.first_step() + e.steps.size());
  for (uint32_t i = 0; i < e.inputs; ++i)
    if (used[i]) id[i] = static_cast<uint32_t>(kept.size()), kept.push_back(i);
  out.inputs = static_cast<uint32_t>(kept.size());
  const uint32_t less = e.inputs - out.inputs;
  for (uint32_t v = e.inputs; v < id.size(); ++v) id[v] = v - less;
  for (Expression::Step& s : out.steps) {
    s.a = static_cast<uint16_t>(id[s.a]);
    if (s.arity > 1) s.b = static_cast<uint16_t>(id[s.b]);
    if (s.arity > 2) s.c = static_cast<uint16_t>(id[s.c]);
  }
  for (uint32_t& r : out.results) r = id[r];
  return out;
}

Expression with_bias(const Expression& e) {
  Expression out;
  out.inputs = e.inputs + 1, out.constants = e.constants;
  const uint32_t sum = out.first_step();
  // Value 0 becomes the sum; the bias moves further inputs and constants by one, and the sum's step all steps by another.
  const auto id = [&](uint32_t old) { return old == 0 ? sum : old < e.first_step() ? old + 1 : old + 2; };
  out.steps.push_back({ExprOp::add, 2, 0, 1, 0});
  for (Expression::Step s : e.steps) {
    s.a = static_cast<uint16_t>(id(s.a));
    s.b = static_cast<uint16_t>(s.arity > 1 ? id(s.b) : 0);
    s.c = static_cast<uint16_t>(s.arity > 2 ? id(s.c) : 0);
    out.steps.push_back(s);
  }
  for (const uint32_t r : e.results) out.results.push_back(id(r));
  return out;
}

Expression identity_expression() {
  Expression e;
  e.inputs = 1;
  e.results = {0};
  return e;
}

}  // namespace cf::cuda
