#include <algorithm>
#include <array>

#include "common/error.h"
#include "program/decode.h"

namespace cf {
namespace {

using Wide = unsigned __int128;

std::string str(uint64_t v) { return std::to_string(v); }

struct Loop {
  uint64_t end;    ///< first instruction behind the body
  uint32_t count;
};

class Validator {
 public:
  explicit Validator(const Program& p) : p_(p) {}

  void run() {
    if (p_.commit > p_.instrs.size()) bad(nullptr, "the commit begins at instruction " + str(p_.commit) + " of " + str(p_.instrs.size()));
    for (at_ = 0; at_ < p_.instrs.size(); ++at_) {
      while (!loops_.empty() && loops_.back().end == at_) loops_.pop_back();
      const Instr& instr = p_.instrs[at_];
      if (instr.name >= p_.names.size()) bad(nullptr, "instruction " + str(at_) + " has name " + str(instr.name) + " of " + str(p_.names.size()));
      if (std::string(op_name(instr.op)).empty()) bad(&instr, "unknown op " + str(static_cast<uint32_t>(instr.op)));
      if (instr.op == Op::repeat) {
        enter(instr);
      } else {
        for (uint32_t id : instr.inputs) operand(instr, id, false);
        for (uint32_t id : instr.outputs) operand(instr, id, true);
        steps_ += trips();
      }
      if (steps_ > kMaxSteps) bad(&instr, "the program executes more than " + str(kMaxSteps) + " instructions in one run");
    }
  }

 private:
  [[noreturn]] void bad(const Instr* instr, const std::string& message) const {
    std::string where;
    if (instr) where = "instruction " + str(at_) + (instr->name < p_.names.size() ? " (" + p_.names[instr->name] + ")" : "") + ": ";
    throw Error(Code::invalid_program, instr ? op_name(instr->op) : "decode", where + message);
  }

  Wide trips() const {
    Wide n = 1;
    for (const Loop& l : loops_) n *= l.count;
    return n;
  }

  void enter(const Instr& instr) {
    if (!instr.inputs.empty() || !instr.outputs.empty() || instr.attrs.size() != 4 || instr.attrs[3] > 1)
      bad(&instr, "expected no operands and 4 attributes (the last 0 or 1), found " + str(instr.inputs.size() + instr.outputs.size()) + " and " + str(instr.attrs.size()));
    uint32_t count = instr.attrs[0], level = instr.attrs[1];
    uint64_t body = instr.attrs[2], end = at_ + 1 + body;
    uint64_t limit = loops_.empty() ? p_.instrs.size() : loops_.back().end;
    if (count == 0 || body == 0) bad(&instr, "expected a count and a body of at least 1, found " + str(count) + " and " + str(body));
    if (level != loops_.size() || level >= kMaxLoops) bad(&instr, "has nesting level " + str(level) + ", expected " + str(loops_.size()) + ", below " + str(kMaxLoops));
    if (end > limit) bad(&instr, "its body ends at instruction " + str(end) + ", beyond " + str(limit));
    if (at_ < p_.commit && end > p_.commit) bad(&instr, "its body reaches into the commit");
    loops_.push_back({end, count});
    if (trips() > kMaxSteps) bad(&instr, "the program executes more than " + str(kMaxSteps) + " instructions in one run");
  }

  void operand(const Instr& instr, uint32_t id, bool written) const {
    const char* role = written ? "output" : "input";
    if (id >= p_.tensors.size()) bad(&instr, std::string(role) + " is tensor " + str(id) + " of " + str(p_.tensors.size()));
    const Tensor& t = p_.tensors[id];
    const Buffer& b = p_.buffers[t.buffer];
    Wide last = t.offset;
    for (uint32_t k = 0; k < t.rank; ++k) {
      last += Wide{t.dims[k] - 1} * t.strides[k];
      if (written && t.dims[k] > 1 && t.strides[k] == 0) bad(&instr, "writes tensor " + str(id) + " through stride 0 in dimension " + str(k));
    }
    // Outside of a loop its index is 0, so strides of levels that do not enclose the instruction move nothing.
    for (size_t k = 0; k < loops_.size(); ++k) last += Wide{loops_[k].count - 1} * t.loop_strides[k];
    if (last >= b.bytes / 4)
      bad(&instr, std::string(role) + " tensor " + str(id) + " reaches element " + (last >> 64 ? "2^64" : str(static_cast<uint64_t>(last))) + " of " +
                      str(b.bytes / 4) + " in buffer " + str(t.buffer));
    if (!written) return;
    if (b.kind == BufferKind::constant || b.kind == BufferKind::feed)
      bad(&instr, "writes buffer " + str(t.buffer) + ", which is " + (b.kind == BufferKind::feed ? "the feed " + b.name : std::string("constant")));
    if (b.kind == BufferKind::state && at_ < p_.commit) bad(&instr, "writes the state " + b.name + " before the commit");
  }

  const Program& p_;
  uint64_t at_ = 0;
  std::vector<Loop> loops_;
  Wide steps_ = 0;
};

}  // namespace

const char* op_name(Op op) noexcept {
  switch (op) {
    case Op::map: return "map";
    case Op::reduce: return "reduce";
    case Op::matmul: return "matmul";
    case Op::conv: return "conv";
    case Op::conv_data_grad: return "conv_data_grad";
    case Op::conv_weight_grad: return "conv_weight_grad";
    case Op::winograd_weights: return "winograd_weights";
    case Op::random: return "random";
    case Op::layer_norm: return "layer_norm";
    case Op::layer_norm_grad: return "layer_norm_grad";
    case Op::attention: return "attention";
    case Op::attention_grad: return "attention_grad";
    case Op::mixture: return "mixture";
    case Op::mixture_grad: return "mixture_grad";
    case Op::mixture_inverse: return "mixture_inverse";
    case Op::matrix_inverse: return "matrix_inverse";
    case Op::log_abs_det: return "log_abs_det";
    case Op::repeat: return "repeat";
  }
  return "";
}

void validate(const Program& program) { Validator(program).run(); }

uint64_t count_steps(const Program& program) {
  uint64_t steps = 0;
  std::vector<Loop> loops;
  for (uint64_t i = 0; i < program.instrs.size(); ++i) {
    while (!loops.empty() && loops.back().end == i) loops.pop_back();
    const Instr& instr = program.instrs[i];
    if (instr.op == Op::repeat) {
      loops.push_back({i + 1 + instr.attrs[2], instr.attrs[0]});
    } else {
      uint64_t n = 1;
      for (const Loop& l : loops) n *= l.count;
      steps += n;
    }
  }
  return steps;
}

}  // namespace cf
