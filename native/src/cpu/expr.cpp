// Decoding of expressions and assignment of their registers.
#include "cpu/kernels/expr.h"

#include <cstring>

namespace cf::cpu {
namespace {

/// Operands an operation takes; 0 = no such operation.
uint32_t arity(uint32_t op) {
  switch (static_cast<ExprOp>(op)) {
    case ExprOp::add: case ExprOp::sub: case ExprOp::mul: case ExprOp::div: case ExprOp::max: case ExprOp::min:
    case ExprOp::lt: case ExprOp::le: case ExprOp::eq:
      return 2;
    case ExprOp::neg: case ExprOp::abs: case ExprOp::exp: case ExprOp::log: case ExprOp::expm1: case ExprOp::log1p: case ExprOp::sqrt:
    case ExprOp::rsqrt: case ExprOp::recip: case ExprOp::tanh: case ExprOp::sigmoid: case ExprOp::softplus: case ExprOp::is_finite:
    case ExprOp::floor:
      return 1;
    case ExprOp::select: return 3;
  }
  return 0;
}

/// Gives each instruction a register, and a register back once its value has been read for the last time. A step may overwrite an operand
/// that dies in it, because every operation reads an element before it writes it. Results live to the end.
void assign_registers(Expr& e) {
  const uint32_t first = e.inputs + static_cast<uint32_t>(e.constants.size()), steps = static_cast<uint32_t>(e.steps.size());
  std::vector<uint32_t> last(first + steps, 0);
  for (uint32_t s = 0; s < steps; ++s) {
    const Expr::Step& step = e.steps[s];
    const uint16_t ids[3] = {step.a, step.b, step.c};
    for (uint32_t k = 0; k < step.arity; ++k) last[ids[k]] = s + 1;
  }
  for (uint32_t r : e.results) last[r] = kUsedByResult;
  e.last_use.assign(last.begin(), last.begin() + e.inputs);
  std::vector<uint16_t> free;
  for (uint32_t s = 0; s < steps; ++s) {
    Expr::Step& step = e.steps[s];
    const uint16_t ids[3] = {step.a, step.b, step.c};
    for (uint32_t k = 0; k < step.arity; ++k) {
      if (ids[k] < first || last[ids[k]] != s + 1) continue;
      last[ids[k]] = 0;  // the same operand twice gives its register back once
      free.push_back(e.reg_of[ids[k] - first]);
    }
    if (free.empty()) free.push_back(static_cast<uint16_t>(e.registers++));
    step.dst = free.back();
    e.reg_of.push_back(step.dst);
    // A value that nobody reads keeps its register for this one step only.
    if (last[first + s] != 0) free.pop_back();
  }
}

}  // namespace

Expr parse_expr(const uint32_t* words, size_t count, uint32_t inputs, uint32_t outputs, const char* op) {
  const auto refuse = [&](const std::string& message) { throw Error(Code::invalid_program, op, "expression: " + message); };
  size_t at = 0;
  const auto next = [&]() -> uint32_t {
    if (at >= count) refuse("it ends after " + std::to_string(count) + " words");
    return words[at++];
  };
  Expr e;
  e.inputs = inputs;
  if (outputs == 0 || outputs > kMaxExprOutputs) refuse("expected 1 to " + std::to_string(kMaxExprOutputs) + " results, found " + std::to_string(outputs));
  const uint32_t constants = next();
  if (constants > kMaxExprValues || inputs > kMaxExprValues) refuse("too many constants: " + std::to_string(constants));
  for (uint32_t i = 0; i < constants; ++i) {
    const uint32_t bits = next();
    float v;
    std::memcpy(&v, &bits, 4);
    e.constants.push_back(v);
  }
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
    e.steps.push_back({static_cast<ExprOp>(code), 0, static_cast<uint16_t>(ids[0]), static_cast<uint16_t>(ids[1]), static_cast<uint16_t>(ids[2]),
                       static_cast<uint8_t>(n), -1});
  }
  for (uint32_t j = 0; j < outputs; ++j) {
    const uint32_t id = next();
    if (id >= inputs + constants + steps) refuse("result " + std::to_string(j) + " is value " + std::to_string(id) + " of " + std::to_string(inputs + constants + steps));
    e.results.push_back(id);
    if (id >= inputs + constants && e.steps[id - inputs - constants].output < 0) e.steps[id - inputs - constants].output = static_cast<int8_t>(j);
  }
  if (at != count) refuse("expected " + std::to_string(at) + " words, found " + std::to_string(count));
  assign_registers(e);
  return e;
}

}  // namespace cf::cpu
