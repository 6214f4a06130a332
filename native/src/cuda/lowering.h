// From instructions to launches: one function per op, each in lower/<family>.cpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>

#include "common/error.h"
#include "cuda/launch.h"
#include "program/checks.h"
#include "program/decode.h"
#include "program/expr.h"
#include "program/operands.h"

namespace cf::cuda {

enum class Precision : uint32_t { float32 = 0, tf32 = 1, bf16 = 2 };

/// What lowering knows of the device and the user's wishes.
struct Target {
  uint32_t multiprocessors = 132;
  uint32_t shared_bytes = 48 * 1024;  ///< per block without opting in
  Precision precision = Precision::float32;
  uint32_t scratch_places = 1;  ///< more where independent launches run at the same time
};

/// A strided window on memory: a Tensor with a Place instead of a buffer.
struct Window {
  Place place;
  bool bf16 = false;  ///< its elements in memory, which generated kernels read and write as float32
  uint32_t rank = 0;
  std::array<uint32_t, kMaxRank> dims{};
  std::array<uint32_t, kMaxRank> strides{};
  std::array<uint32_t, kMaxLoops> loop_strides{};
  Range range;  ///< all that it touches, loops included
};

/// Collects the launches of one instruction. Validates nothing by itself: a family's function refuses what it can't do.
class Lowering {
 public:
  Lowering(const Program& program, const Target& target, LaunchList& list) : program(program), target(target), list(list) {}

  const Program& program;
  const Target& target;
  LaunchList& list;

  void begin(const Instr& instr, uint32_t index) { instr_ = &instr, index_ = index, scratch_ = 0; }
  const Instr& instr() const { return *instr_; }
  const Tensor& input(size_t i) const { return program.tensors[instr_->inputs[i]]; }
  const Tensor& output(size_t j) const { return program.tensors[instr_->outputs[j]]; }

  /// Throws Error{invalid_program} naming the op and the layer.
  [[noreturn]] void refuse(const std::string& message) const { cf::refuse(program, *instr_, message); }

  /// `bytes` of this instruction's scratch, 256-aligned.
  Place scratch(uint64_t bytes);

  /// First element of a tensor outside loops, or with every loop index 0.
  Place place(const Tensor& t) const { return {Place::Kind::buffer, t.buffer, 4 * t.offset}; }
  /// What a tensor touches, over all iterations of the loops around this instruction.
  Range range(const Tensor& t) const;
  static Range range(const Place& p, uint64_t bytes) { return {p.kind, p.buffer, p.offset, p.offset + bytes}; }

  Window window(const Tensor& t) const;
  std::vector<Window> windows(const std::vector<uint32_t>& tensors) const;
  /// Dense, of these dims, at a fixed place.
  static Window dense(const Place& p, const std::vector<uint32_t>& dims, bool bf16 = false);

  /// Whether the tensor moves with a loop around this instruction. Generated kernels (map, reduce) follow it by themselves;
  /// everything else reads `staged` and writes through `staged_result`.
  bool moves(const Tensor& t) const;
  /// Dense copy at a fixed place when the tensor moves or isn't dense (when `dense` asks for that), the tensor itself otherwise.
  Place staged(const Tensor& t, bool dense = true);
  /// Where to write instead of `t`; `finish_staged` copies what was written there to `t` (call it after the launches that write).
  Place staged_result(const Tensor& t, bool dense = true);
  void finish_staged(const Tensor& t, const Place& from);

  /// Appends a launch with name and instruction filled in.
  Launch& add(Launch::Kind kind, const std::string& name);
  /// A kernel launch whose Args are `args`; pointers are added by `point`.
  template <class Args>
  Launch& kernel(const std::string& name, Kernel k, const Args& args, std::array<uint32_t, 3> grid, std::array<uint32_t, 3> block, uint32_t shared = 0) {
    Launch& l = add(Launch::Kind::kernel, name);
    l.kernel = list.kernel(std::move(k));
    l.grid = grid, l.block = block, l.shared_bytes = shared;
    l.args.resize(sizeof(Args));
    std::memcpy(l.args.data(), &args, sizeof(Args));
    return l;
  }

  struct Loop {
    uint32_t count, level;
    bool reversed;
  };
  std::vector<Loop> loops;  ///< around the instruction, outermost first

 private:
  const Instr* instr_ = nullptr;
  uint32_t index_ = 0;
  uint64_t scratch_ = 0;
};

/// Says that the pointer field at byte `at` of a launch's Args is `place`, read or written over `range`.
inline void reads(Launch& l, size_t at, const Place& place, const Range& range) {
  l.pointers.push_back({static_cast<uint32_t>(at), place});
  l.reads.push_back(range);
}
inline void writes(Launch& l, size_t at, const Place& place, const Range& range) {
  l.pointers.push_back({static_cast<uint32_t>(at), place});
  l.writes.push_back(range);
}

/// outputs = expression(inputs), element by element; all windows have the same dims. One launch. (lower/map.cpp)
void add_map(Lowering&, const std::string& name, const Expression& e, const std::vector<Window>& inputs, const std::vector<Window>& outputs);
/// The same with `words` as `map` has them in its attributes (ops.h).
void add_map(Lowering&, const std::string& name, const uint32_t* words, size_t count, const std::vector<Window>& inputs, const std::vector<Window>& outputs);
/// to = from. One launch. (lower/map.cpp)
void add_copy(Lowering&, const std::string& name, const Window& from, const Window& to);

/// product.c = product.a·product.b (+ bias) as one launch, reading and writing these ranges. (lower/matmul.cpp)
void add_product(Lowering&, const std::string& name, const Matmul& product, const Range& a, const Range& b, const Range& c);
/// [rows, cols] without gaps as a product's operand: a stride that is never used still tells the layout.
Matmul::Operand dense_operand(const Place& p, uint64_t batch_stride, uint64_t rows, uint64_t cols);
/// What an instruction's epilogue (ops.h) makes of its result, which lies dense at `raw` (in bfloat16, if so), a bias not yet added. One launch. (lower/matmul.cpp)
void add_epilogue(Lowering&, const Place& raw, const std::vector<uint32_t>& dims, const Tensor* bias, size_t own_inputs, size_t own_attrs, bool bf16 = false);
/// Where the op's own result goes: the first output when nothing else lies there and it is dense at a fixed place, else scratch.
Place raw_result(Lowering&, const std::vector<uint32_t>& dims);

void lower_map(Lowering&);
void lower_reduce(Lowering&);
void lower_matmul(Lowering&);
void lower_conv(Lowering&);
void lower_conv_data_grad(Lowering&);
void lower_conv_weight_grad(Lowering&);
void lower_winograd_weights(Lowering&);
// What lower_conv and its gradients call for algorithm 1: operands are checked already, bias and epilogue are the callee's. (lower/winograd.cpp)
void lower_winograd_conv(Lowering&, const ConvOperands&);
void lower_winograd_data_grad(Lowering&, const ConvOperands&);
void lower_winograd_weight_grad(Lowering&, const ConvOperands&);
/// Whether a convolution has few enough input channels for kernels of its own (lower/few_channels.cpp), which make no more than the sums: bias and epilogue follow.
bool few_channels(const ConvShape&);
bool few_channels_data_grad(const ConvShape&);
void add_few_channels(Lowering&, const ConvShape&, const Place& x, const Place& w, const Place& y);
/// `dy` is read 16 bytes at a time.
void add_few_channels_data_grad(Lowering&, const ConvShape&, const Place& dy, const Place& w, const Place& dx);
void lower_random(Lowering&);
void lower_layer_norm(Lowering&);
void lower_layer_norm_grad(Lowering&);
void lower_attention(Lowering&);
void lower_attention_grad(Lowering&);
void lower_mixture(Lowering&);
void lower_mixture_grad(Lowering&);
void lower_mixture_inverse(Lowering&);
void lower_matrix_inverse(Lowering&);
void lower_log_abs_det(Lowering&);

/// The whole program. Throws Error{invalid_program | unsupported}.
LaunchList lower(const Program& program, const Target& target);

}  // namespace cf::cuda
