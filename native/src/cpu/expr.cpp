// Expressions as the tile interpreter runs them: assignment of registers.
#include "cpu/kernels/expr.h"

#include <cstring>

namespace cf::cpu {
namespace {

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
  const Expression decoded = decode_expression(words, count, inputs, outputs, op);
  Expr e;
  e.inputs = inputs;
  for (const uint32_t bits : decoded.constants) {
    float v;
    std::memcpy(&v, &bits, 4);
    e.constants.push_back(v);
  }
  for (const Expression::Step& s : decoded.steps) e.steps.push_back({s.op, 0, s.a, s.b, s.c, s.arity, -1});
  e.results = decoded.results;
  for (uint32_t j = 0; j < outputs; ++j) {
    const uint32_t id = e.results[j], first = decoded.first_step();
    if (id >= first && e.steps[id - first].output < 0) e.steps[id - first].output = static_cast<int8_t>(j);
  }
  assign_registers(e);
  return e;
}

}  // namespace cf::cpu
