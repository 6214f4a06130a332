// What generated kernels have in common: their arguments, and the arithmetic from a linear index to operands' elements.
#pragma once
#include <string>
#include <vector>

#include "cuda/lowering.h"
#include "program/expr.h"
#include "program/space.h"

namespace cf::cuda {

constexpr uint32_t kThreads = 256;  ///< of a block
constexpr uint32_t kBlocksEach = 16;  ///< blocks of a grid-stride loop for each multiprocessor, at most

/// What a generated kernel's text begins with. `bf16`: some of its operands hold bfloat16.
std::string kernel_head(bool bf16 = false);

/// Windows that a generated kernel reads (x0, x1, …) and writes (y0, y1, …). Its Args are their pointers in this order, then that of the loop counters when any moves.
class Arguments {
 public:
  /// `counters`: the kernel reads loop counters by itself (a.loops).
  Arguments(std::vector<Window> inputs, std::vector<Window> outputs, bool counters = false);

  std::string input_type = "float", output_type = "float";  ///< of the windows that don't hold bfloat16

  const std::vector<Window>& inputs() const { return inputs_; }
  const std::vector<Window>& outputs() const { return outputs_; }
  size_t count() const { return inputs_.size() + outputs_.size(); }
  const Window& at(size_t i) const { return i < inputs_.size() ? inputs_[i] : outputs_[i - inputs_.size()]; }
  /// "x0", "y0", …
  std::string name(size_t i) const;
  std::vector<std::array<uint32_t, kMaxRank>> strides() const;
  bool any_bf16() const;

  /// `struct Args { … };`
  std::string struct_source() const;
  /// `const float* const x0 = a.x0 + …;`: where operands are in this pass of the loops.
  std::string base_source() const;
  /// Appends the kernel's launch.
  Launch& launch(Lowering& l, const std::string& name, std::string text, bool cooperates, std::array<uint32_t, 3> grid, uint32_t threads) const;

 private:
  std::string pointer(size_t i) const;
  std::vector<Window> inputs_, outputs_;
  bool moves_ = false;
};

/// Dimensions in an order in which `lead` takes its longest steps first; those that it stands still along are outermost.
std::vector<uint32_t> memory_order(const Window& lead);

/// "unsigned" when indices up to `elements` and all offsets into `spaces` fit, else "unsigned long long".
std::string index_type(uint64_t elements, const std::vector<const Space*>& spaces);

/// Whether all operands [0, count) can be read and written four neighbours at a time along the innermost dimension of `space` (or hold one value there).
/// `beside`: another space that they also walk through, one step at a time.
bool vectorizable(const Arguments& operands, size_t count, const Space& space, const Space& beside = {});
/// The same with four neighbours as one: the innermost dimension a quarter as long.
Space quartered(Space space);

/// Offset of operand `i` at linear index `index` (a C++ expression of type `type`); "0" when it stands still.
std::string offset_source(const Space& space, size_t i, const std::string& index, const std::string& type);

/// `float x[width][inputs] = {…}; float y[width][outputs]; NAME(x[0], y[0]); …`: reads inputs at `offsets`, four neighbours each when width is 4, unless their
/// innermost stride in `space` is 0.
std::string evaluate_source(const std::string& name, const Arguments& operands, const Space& space, const std::vector<std::string>& offsets, int width,
                            const std::string& indent);

/// A literal of `type`.
std::string literal(uint64_t v, const std::string& type);

}  // namespace cf::cuda
