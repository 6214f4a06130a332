// A rough price of an expression, to decide how many threads are worth waking, and for what.
#pragma once
#include "cpu/kernels/expr.h"

namespace cf::cpu {

/// Nanoseconds per element, with `streams` arrays read or written.
inline double expr_cost(const Expr& e, size_t streams) {
  double ns = 0.05 * static_cast<double>(streams);
  for (const Expr::Step& s : e.steps) {
    switch (s.op) {
      case ExprOp::exp: case ExprOp::log: case ExprOp::expm1: case ExprOp::log1p: case ExprOp::tanh: case ExprOp::sigmoid: case ExprOp::softplus: case ExprOp::elu:
        ns += 0.6;
        break;
      case ExprOp::div: case ExprOp::sqrt: case ExprOp::rsqrt: case ExprOp::recip:
        ns += 0.2;
        break;
      default:
        ns += 0.06;
    }
  }
  return ns;
}

/// Nanoseconds of a call with this many operands whose elements cost `ns`: an operand's first line comes from memory, not from a cache.
inline double call_cost(size_t operands, double ns) { return 200 + 150 * static_cast<double>(operands) + 1.5 * ns; }

}  // namespace cf::cpu
