// The tile interpreter of expressions: one decoded form, one runner per instruction set. Used by map and reduce, and as the epilogue of products and convolutions.
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/kernels/isa.h"
#include "program/expr.h"

namespace cf::cpu {

/// An expression with its register use worked out. Registers are tiles of kExprTile floats.
struct Expr {
  /// A value that a step makes.
  struct Made {
    uint16_t value;  ///< operand id; kNothing where nobody wants the value
    uint16_t reg;
    int8_t output;  ///< the first output that is this value, or −1
  };
  static constexpr uint16_t kNothing = 0xffff;
  /// Two values of one operand x = a that share their costly part.
  enum class Pair : uint8_t {
    none,
    swish,  ///< x·σ(x) and its slope, σ(x) + x·σ(x)·(1 − σ(x))
    slope,  ///< the second of these times b, one value
    elu,    ///< elu(x) and elu(−x)
  };
  struct Step {
    Pair pair;
    ExprOp op;  ///< of a step that makes one value
    uint8_t arity;
    uint16_t a, b, c;  ///< operand ids as in the encoding
    Made made[2];
  };
  /// Operand ids as in the encoding: inputs, then constants, then instructions (of which steps may make several, or leave out what nobody reads).
  uint32_t inputs = 0;
  std::vector<float> constants;
  std::vector<Step> steps;
  uint32_t operations = 0;  ///< instructions of the encoding
  struct Result {
    uint16_t value;  ///< operand id
    int16_t step;    ///< that makes it, or −1
  };
  std::vector<Result> results;     ///< per output
  std::vector<uint16_t> last_use;  ///< per input: 1 + the last step that reads it, 0 if none does, kUsedByResult if it is a result itself
  uint32_t registers = 0;
};

constexpr uint32_t kExprTile = 512;  ///< floats: a step costs some 30 cycles besides its arithmetic, and what an expression holds should fit the first-level cache
constexpr uint16_t kUsedByResult = 0xffff;

/// decode_expression with registers assigned by liveness.
Expr parse_expr(const uint32_t* words, size_t count, uint32_t inputs, uint32_t outputs, const char* op);

/// Scratch floats expr_run needs per thread.
inline size_t expr_scratch_floats(const Expr& e) { return static_cast<size_t>(e.registers + e.constants.size() + e.inputs) * kExprTile; }

}  // namespace cf::cpu

// Evaluates the expression on n contiguous elements (any n; tiles inside). in[i] points at n floats, or at one float when broadcast[i] is 1.
// out[j] points at n floats and may equal an input (same index) but not overlap it otherwise.
CF_DECLARE(void expr_run(const Expr& e, const float* const* in, const uint8_t* broadcast, float* const* out, size_t n, float* scratch);)
