// A launch list as text.
#include <string>

#include "cuda/launch.h"

namespace cf::cuda {
namespace {

class Printer {
 public:
  Printer(const LaunchList& list, const Program& program) : list_(list), p_(program) {}

  std::string run() {
    nodes(list_.before_commit, "");
    if (!list_.commit.empty()) text_ += "commit\n", nodes(list_.commit, "  ");
    return std::move(text_);
  }

 private:
  void nodes(const std::vector<Node>& all, const std::string& indent) {
    for (const Node& n : all) {
      for (uint32_t i = n.begin; i < n.end; ++i) launch(list_.launches[i], indent);
      if (n.count == 0) continue;
      text_ += indent + std::to_string(n.count) + " times" + (n.reversed ? ", backwards" : "") + "\n";
      nodes(n.body, indent + "  ");
    }
  }

  void launch(const Launch& l, const std::string& indent) {
    text_ += indent + std::to_string(l.instr) + " " + l.name + " " + what(l) + ":" + ranges(l.reads) + " →" + ranges(l.writes) + "\n";
  }

  std::string what(const Launch& l) const {
    const auto s = [](uint64_t v) { return std::to_string(v); };
    switch (l.kind) {
      case Launch::Kind::kernel: {
        const auto sides = [&](const std::array<uint32_t, 3>& d) { return s(d[0]) + (d[1] * d[2] > 1 ? "·" + s(d[1]) : "") + (d[2] > 1 ? "·" + s(d[2]) : ""); };
        return "kernel " + s(l.kernel) + ", " + sides(l.grid) + " × " + sides(l.block) + (l.shared_bytes ? ", " + s(l.shared_bytes) + " B shared" : "");
      }
      case Launch::Kind::matmul: {
        const Matmul& m = l.matmul;
        const auto turned = [](const Matmul::Operand& o) { return std::string(o.column_stride == 1 ? "" : "ᵀ"); };
        return "product " + (m.batch > 1 ? s(m.batch) + " × " : "") + "[" + s(m.m) + ", " + s(m.k) + "]" + turned(m.a) + "·[" + s(m.k) + ", " + s(m.n) + "]" + turned(m.b) +
               (m.has_bias ? " + bias" : "");
      }
      case Launch::Kind::convolution: {
        const Convolution& c = l.convolution;
        return "convolution [" + s(c.n) + ", " + s(c.h) + ", " + s(c.w) + ", " + s(c.i) + "] by " + s(c.kh) + "×" + s(c.kw) + " to [" + s(c.oh) + ", " + s(c.ow) + ", " + s(c.o) + "]" +
               (c.bf16 ? " in bfloat16" : "");
      }
    }
    return "";
  }

  /// A whole buffer by its name (or #index), part of one with its bytes.
  std::string ranges(const std::vector<Range>& all) const {
    std::string text;
    for (const Range& r : all) {
      const bool buffer = r.kind == Place::Kind::buffer;
      text += " " + (!buffer ? "scratch" : p_.buffers[r.buffer].name.empty() ? "#" + std::to_string(r.buffer) : p_.buffers[r.buffer].name);
      if (!buffer || r.begin != 0 || r.end != p_.buffers[r.buffer].bytes) text += "[" + std::to_string(r.begin) + ", " + std::to_string(r.end) + ")";
    }
    return text;
  }

  const LaunchList& list_;
  const Program& p_;
  std::string text_;
};

}  // namespace

std::string print(const LaunchList& list, const Program& program) { return Printer(list, program).run(); }

}  // namespace cf::cuda
