#include "program/expr.h"

#include <string>

#include "common/error.h"

namespace cf {
namespace {

/// Operands an operation takes; 0 = no such operation.
uint32_t arity(uint32_t op) {
  switch (static_cast<ExprOp>(op)) {
    case ExprOp::add: case ExprOp::sub: case ExprOp::mul: case ExprOp::div: case ExprOp::max: case ExprOp::min:
    case ExprOp::lt: case ExprOp::le: case ExprOp::eq:
      return 2;
    case ExprOp::neg: case ExprOp::abs: case ExprOp::exp: case ExprOp::log: case ExprOp::expm1: case ExprOp::log1p: case ExprOp::sqrt:
    case ExprOp::rsqrt: case ExprOp::recip: case ExprOp::tanh: case ExprOp::sigmoid: case ExprOp::softplus: case ExprOp::is_finite:
    case ExprOp::floor: case ExprOp::elu:
      return 1;
    case ExprOp::select: return 3;
  }
  return 0;
}

}  // namespace

Expression decode_expression(const uint32_t* words, size_t count, uint32_t inputs, uint32_t outputs, const char* op) {
  const auto refuse = [&](const std::string& message) { throw Error(Code::invalid_program, op, "expression: " + message); };
  size_t at = 0;
  const auto next = [&]() -> uint32_t {
    if (at >= count) refuse("it ends after " + std::to_string(count) + " words");
    return words[at++];
  };
  Expression e;
  e.inputs = inputs;
  if (outputs == 0 || outputs > kMaxExprOutputs) refuse("expected 1 to " + std::to_string(kMaxExprOutputs) + " results, found " + std::to_string(outputs));
  const uint32_t constants = next();
  if (constants > kMaxExprValues || inputs > kMaxExprValues) refuse("too many constants: " + std::to_string(constants));
  for (uint32_t i = 0; i < constants; ++i) e.constants.push_back(next());
  const uint32_t steps = next();
  if (steps > kMaxExprValues || inputs + constants + steps > kMaxExprValues)
    refuse("more than " + std::to_string(kMaxExprValues) + " values: " + std::to_string(steps) + " instructions");
  for (uint32_t s = 0; s < steps; ++s) {
    const uint32_t code = next(), n = arity(code), known = inputs + constants + s;
    if (n == 0) refuse("instruction " + std::to_string(s) + " has the unknown operation " + std::to_string(code));
    uint32_t ids[3];
    for (uint32_t k = 0; k < 3; ++k) {
      ids[k] = next();
      if (k < n && ids[k] >= known)
        refuse("instruction " + std::to_string(s) + " reads value " + std::to_string(ids[k]) + ", of which there are " + std::to_string(known));
      if (k >= n) ids[k] = 0;
    }
    e.steps.push_back({static_cast<ExprOp>(code), static_cast<uint8_t>(n), static_cast<uint16_t>(ids[0]), static_cast<uint16_t>(ids[1]), static_cast<uint16_t>(ids[2])});
  }
  for (uint32_t j = 0; j < outputs; ++j) {
    const uint32_t id = next(), known = inputs + constants + steps;
    if (id >= known) refuse("result " + std::to_string(j) + " is value " + std::to_string(id) + " of " + std::to_string(known));
    e.results.push_back(id);
  }
  if (at != count) refuse("expected " + std::to_string(at) + " words, found " + std::to_string(count));
  return e;
}

}  // namespace cf
