// The decoded form of expressions (map, reduce, epilogues): what every backend begins with.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "program/ops.h"

namespace cf {

constexpr uint32_t kMaxMapInputs = 16;
constexpr uint32_t kMaxExprOutputs = 8;
constexpr uint32_t kMaxExprValues = 1024;  ///< inputs, constants and instructions together

/// Value ids are as in the encoding: inputs, then constants, then steps.
struct Expression {
  struct Step {
    ExprOp op;
    uint8_t arity;
    uint16_t a, b, c;  ///< value ids; unused ones are 0
  };
  uint32_t inputs = 0;
  std::vector<uint32_t> constants;  ///< bits
  std::vector<Step> steps;
  std::vector<uint32_t> results;  ///< value id per output

  uint32_t first_step() const { return inputs + static_cast<uint32_t>(constants.size()); }
};

/// Decodes map's attribute words [nConst, consts…, nInstr, (op, a, b, c)…, results…] from words[0, count) and checks every id: each step may only use
/// earlier values. Throws Error{invalid_program, op, …}.
Expression decode_expression(const uint32_t* words, size_t count, uint32_t inputs, uint32_t outputs, const char* op);

}  // namespace cf
