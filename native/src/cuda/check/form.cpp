#include "cuda/check/form.h"

#include <algorithm>

#include "common/error.h"

namespace cf::cuda {
namespace {

class Form {
 public:
  Form(const LaunchList& list, const Program& program, const Launch& launch) : list_(list), p_(program), launch_(launch) {}

  void run() const {
    const Launch& l = launch_;
    for (const auto* ranges : {&l.reads, &l.writes})
      for (const Range& r : *ranges) {
        if (r.kind == Place::Kind::loops) bad("names the loop counters as an operand");
        if (r.kind == Place::Kind::buffer && r.buffer >= p_.buffers.size()) bad("names buffer " + std::to_string(r.buffer) + " of " + std::to_string(p_.buffers.size()));
        if (r.begin >= r.end || r.end > bytes_of(r)) bad("names bytes " + span_text(r.begin, r.end) + " of " + std::to_string(bytes_of(r)));
      }
    if (l.writes.empty()) bad("writes nothing");
    switch (l.kind) {
      case Launch::Kind::kernel: return form_kernel(l);
      case Launch::Kind::matmul: return form_matmul(l.matmul);
      case Launch::Kind::convolution: return form_convolution(l.convolution);
    }
  }

 private:
  [[noreturn]] void bad(const std::string& message) const { refuse_launch(list_, &launch_, message); }
  uint64_t bytes_of(const Range& r) const { return r.kind == Place::Kind::buffer ? p_.buffers[r.buffer].bytes : list_.scratch_bytes; }

  void form_kernel(const Launch& l) const {
    if (l.kernel >= list_.kernels.size()) bad("runs kernel " + std::to_string(l.kernel) + " of " + std::to_string(list_.kernels.size()));
    const uint64_t threads = uint64_t{l.block[0]} * l.block[1] * l.block[2];
    if (threads == 0 || threads > 1024 || l.block[2] > 64) bad("has blocks of " + std::to_string(threads) + " threads");
    if (list_.kernels[l.kernel].cooperates && threads % 32 != 0) bad("cooperates in blocks that are not whole warps");
    if (l.grid[0] == 0 || l.grid[0] > INT32_MAX || l.grid[1] == 0 || l.grid[1] > 65535 || l.grid[2] == 0 || l.grid[2] > 65535) bad("has an impossible grid");
    if (l.shared_bytes > 227 * 1024) bad("wants " + std::to_string(l.shared_bytes) + " bytes of shared memory");
    if (l.args.size() > 4096) bad("has " + std::to_string(l.args.size()) + " bytes of arguments");
    std::vector<uint32_t> fields;
    for (const Launch::Pointer& f : l.pointers) {
      if (f.at % 8 != 0 || f.at + 8 > l.args.size()) bad("has a pointer at byte " + std::to_string(f.at) + " of its arguments");
      fields.push_back(f.at);
      if (f.place.kind != Place::Kind::loops) inside(f.place, 1, nullptr);
      else if (f.place.offset >= kMaxLoops * 4) bad("points behind the loop counters");
    }
    std::sort(fields.begin(), fields.end());
    if (std::adjacent_find(fields.begin(), fields.end()) != fields.end()) bad("has two pointers in one place of its arguments");
    for (const auto* ranges : {&l.reads, &l.writes})
      for (const Range& r : *ranges)
        if (std::none_of(l.pointers.begin(), l.pointers.end(), [&](const Launch::Pointer& f) { return within(f.place, r); })) bad("has no pointer to an operand");
  }

  static bool within(const Place& p, const Range& r) {
    return p.kind == r.kind && (p.kind != Place::Kind::buffer || p.buffer == r.buffer) && p.offset >= r.begin && p.offset < r.end;
  }

  /// `floats` from a place on are among what the launch reads (or writes, or either).
  void inside(const Place& p, uint64_t floats, const std::vector<Range>* among) const {
    for (const auto* ranges : {&launch_.reads, &launch_.writes}) {
      if (among && ranges != among) continue;
      for (const Range& r : *ranges)
        if (within(p, r) && p.offset + 4 * (floats - 1) < r.end) return;
    }
    bad("touches " + std::to_string(floats) + " floats from byte " + std::to_string(p.offset) + ", which are not among its operands");
  }

  void form_matmul(const Matmul& m) const {
    const auto matrix = [&](const Matmul::Operand& o, uint64_t rows, uint64_t cols, const std::vector<Range>& among) {
      if ((o.row_stride == 1) == (o.column_stride == 1)) bad("has an operand without exactly one stride of 1");
      if (o.column_stride == 1 ? o.row_stride < cols && rows > 1 : o.column_stride < rows && cols > 1) bad("has an operand whose rows overlap");
      inside(o.place, (m.batch - 1) * o.batch_stride + (rows - 1) * o.row_stride + (cols - 1) * o.column_stride + 1, &among);
    };
    matrix(m.a, m.m, m.k, launch_.reads);
    matrix(m.b, m.k, m.n, launch_.reads);
    Matmul::Operand c = m.c;
    if (c.column_stride != 1 || (m.m > 1 && c.row_stride < m.n)) bad("has a result whose rows overlap");
    inside(c.place, (m.batch - 1) * c.batch_stride + (m.m - 1) * c.row_stride + m.n, &launch_.writes);
    if (m.has_bias) inside(m.bias, m.n, &launch_.reads);
  }

  void form_convolution(const Convolution& c) const {
    using Kind = Convolution::Kind;
    // A range of bfloat16 has half the bytes.
    const auto operand = [&](const Place& p, uint64_t elements, Kind written) {
      inside(p, c.bf16 ? (elements + 1) / 2 : elements, c.kind == written ? &launch_.writes : &launch_.reads);
    };
    operand(c.x, uint64_t{c.n} * c.h * c.w * c.i, Kind::data_grad);
    operand(c.weights, uint64_t{c.o} * c.kh * c.kw * c.i, Kind::weight_grad);
    operand(c.y, uint64_t{c.n} * c.oh * c.ow * c.o, Kind::forward);
  }

  const LaunchList& list_;
  const Program& p_;
  const Launch& launch_;
};

}  // namespace

void refuse_launch(const LaunchList& list, const Launch* launch, const std::string& message) {
  const std::string where = launch ? "launch " + std::to_string(launch - list.launches.data()) + " (" + launch->name + " of instruction " + std::to_string(launch->instr) + ") " : "";
  throw Error(Code::internal, "check", where + message);
}

std::string span_text(uint64_t begin, uint64_t end) { return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")"; }

void check_form(const LaunchList& list, const Program& program, const Launch& launch) { Form(list, program, launch).run(); }

}  // namespace cf::cuda
