#include "cuda/check.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "common/error.h"
#include "cuda/lowering.h"

namespace cf::cuda {
namespace {

constexpr uint64_t kMostElements = 1u << 22;  ///< of operands that are compared element by element

/// A range in memory as it is when the program runs: arena buffers are parts of one arena.
struct Part {
  enum class Space { buffer, arena, scratch } space;
  uint32_t buffer;  ///< 0 for the arena and scratch
  uint64_t begin, end;
};

/// Who wrote what last: disjoint stretches of one space, each with a tag (in the arena the buffer that it belongs to).
class Written {
 public:
  void set(uint64_t begin, uint64_t end, uint32_t tag) {
    split(begin), split(end);
    stretches_.erase(stretches_.lower_bound(begin), stretches_.lower_bound(end));
    if (begin < end) stretches_[begin] = {end, tag};
  }
  bool covers(uint64_t begin, uint64_t end, uint32_t tag) const {
    auto at = stretches_.upper_bound(begin);
    if (at == stretches_.begin()) return begin >= end;
    for (--at; begin < end; ++at) {
      if (at == stretches_.end() || at->first > begin || at->second.end <= begin || at->second.tag != tag) return false;
      begin = at->second.end;
    }
    return true;
  }
  void clear() { stretches_.clear(); }

 private:
  struct Stretch {
    uint64_t end;
    uint32_t tag;
  };
  void split(uint64_t at) {
    auto s = stretches_.lower_bound(at);
    if (s == stretches_.begin()) return;
    --s;
    if (s->second.end <= at) return;
    stretches_[at] = s->second;
    s->second.end = at;
  }
  std::map<uint64_t, Stretch> stretches_;
};

std::string hex(uint64_t begin, uint64_t end) { return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")"; }

class Checker {
 public:
  Checker(const LaunchList& list, const Program& program) : list_(list), p_(program) {}

  void run() {
    for (const Launch& l : list_.launches) {
      at_ = &l;
      form(l);
    }
    at_ = nullptr;
    for (uint32_t b = 0; b < p_.buffers.size(); ++b) {
      const BufferKind kind = p_.buffers[b].kind;
      if (kind == BufferKind::state || kind == BufferKind::feed || kind == BufferKind::constant) note(part({Place::Kind::buffer, b, 0, p_.buffers[b].bytes}), b);
    }
    for (const auto* nodes : {&list_.before_commit, &list_.commit}) {
      order(*nodes);
      walk(*nodes);
    }
    if (next_ != list_.launches.size()) bad("launches are missing: " + std::to_string(next_) + " of " + std::to_string(list_.launches.size()) + " are in a node");
  }

 private:
  [[noreturn]] void bad(const std::string& message) const {
    const std::string where = at_ ? "launch " + std::to_string(at_ - list_.launches.data()) + " (" + at_->name + " of instruction " + std::to_string(at_->instr) + ") " : "";
    throw Error(Code::internal, "check", where + message);
  }

  // ---- one launch by itself ----

  uint64_t bytes_of(const Range& r) const { return r.kind == Place::Kind::buffer ? p_.buffers[r.buffer].bytes : list_.scratch_bytes; }

  void form(const Launch& l) const {
    for (const auto* ranges : {&l.reads, &l.writes})
      for (const Range& r : *ranges) {
        if (r.kind == Place::Kind::loops) bad("names the loop counters as an operand");
        if (r.kind == Place::Kind::buffer && r.buffer >= p_.buffers.size()) bad("names buffer " + std::to_string(r.buffer) + " of " + std::to_string(p_.buffers.size()));
        if (r.begin >= r.end || r.end > bytes_of(r)) bad("names bytes " + hex(r.begin, r.end) + " of " + std::to_string(bytes_of(r)));
      }
    if (l.writes.empty()) bad("writes nothing");
    switch (l.kind) {
      case Launch::Kind::kernel: return form_kernel(l);
      case Launch::Kind::matmul: return form_matmul(l.matmul);
      case Launch::Kind::convolution: return form_convolution(l.convolution);
    }
  }

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
    for (const auto* ranges : {&at_->reads, &at_->writes}) {
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
    matrix(m.a, m.m, m.k, at_->reads);
    matrix(m.b, m.k, m.n, at_->reads);
    Matmul::Operand c = m.c;
    if (c.column_stride != 1 || (m.m > 1 && c.row_stride < m.n)) bad("has a result whose rows overlap");
    inside(c.place, (m.batch - 1) * c.batch_stride + (m.m - 1) * c.row_stride + m.n, &at_->writes);
    if (m.has_bias) inside(m.bias, m.n, &at_->reads);
  }

  void form_convolution(const Convolution& c) const {
    using Kind = Convolution::Kind;
    const auto operand = [&](const Place& p, uint64_t floats, Kind written) { inside(p, floats, c.kind == written ? &at_->writes : &at_->reads); };
    operand(c.x, uint64_t{c.n} * c.h * c.w * c.i, Kind::data_grad);
    operand(c.weights, uint64_t{c.o} * c.kh * c.kw * c.i, Kind::weight_grad);
    operand(c.y, uint64_t{c.n} * c.oh * c.ow * c.o, Kind::forward);
  }

  /// Launches come in order, each once.
  void order(const std::vector<Node>& nodes) {
    for (const Node& n : nodes) {
      if (n.count > 0) {
        if (n.begin != n.end || n.level >= kMaxLoops) bad("a loop has launches of its own, or a level beyond " + std::to_string(kMaxLoops));
        order(n.body);
        continue;
      }
      if (n.begin != next_ || n.end <= n.begin || n.end > list_.launches.size() || !n.body.empty()) bad("launches are out of order: expected " + std::to_string(next_));
      next_ = n.end;
    }
  }

  // ---- memory ----

  Part part(const Range& r) const {
    if (r.kind == Place::Kind::scratch) return {Part::Space::scratch, 0, r.begin, r.end};
    const Buffer& b = p_.buffers[r.buffer];
    if (b.kind == BufferKind::arena) return {Part::Space::arena, 0, b.offset + r.begin, b.offset + r.end};
    return {Part::Space::buffer, r.buffer, r.begin, r.end};
  }
  static uint64_t key(const Part& p) { return static_cast<uint64_t>(p.space) << 32 | p.buffer; }
  void note(const Part& p, uint32_t tag) { written_[key(p)].set(p.begin, p.end, tag); }
  bool known(const Part& p, uint32_t tag) const {
    const auto found = written_.find(key(p));
    return found != written_.end() && found->second.covers(p.begin, p.end, tag);
  }
  uint32_t tag(const Range& r) const { return r.kind == Place::Kind::buffer ? r.buffer : at_->instr; }

  struct Loop {
    const Node* node;
    bool first;  ///< else all passes
  };
  static uint64_t first_index(const Node& n) { return n.reversed ? n.count - 1 : 0; }

  /// The operands of the launch's instruction that this range is all of.
  std::vector<const Tensor*> tensors(const Range& r) const {
    std::vector<const Tensor*> out;
    if (r.kind != Place::Kind::buffer) return out;
    const Instr& instr = p_.instrs[at_->instr];
    for (const auto* ids : {&instr.inputs, &instr.outputs})
      for (const uint32_t id : *ids) {
        const Tensor& t = p_.tensors[id];
        uint64_t last = t.offset;
        for (uint32_t k = 0; k < t.rank; ++k) last += uint64_t{t.dims[k] - 1} * t.strides[k];
        for (const Loop& loop : loops_) last += uint64_t{loop.node->count - 1} * t.loop_strides[loop.node->level];
        if (t.buffer == r.buffer && 4 * t.offset == r.begin && 4 * (last + 1) == r.end) out.push_back(&t);
      }
    return out;
  }

  /// What of `r` the passes in question touch.
  Range in_passes(const Range& r) const {
    const std::vector<const Tensor*> operands = tensors(r);
    if (operands.empty()) return r;
    Range out = r;
    for (const Loop& loop : loops_) {
      if (!loop.first) continue;
      const uint64_t stride = 4ull * operands[0]->loop_strides[loop.node->level], before = first_index(*loop.node) * stride;
      out.begin += before;
      out.end -= (loop.node->count - 1) * stride - before;
    }
    return out;
  }

  void walk(const std::vector<Node>& nodes) {
    for (const Node& n : nodes) {
      for (uint32_t i = n.begin; i < n.end; ++i) step(list_.launches[i]);
      if (n.count == 0) continue;
      for (const bool first : {true, false}) {
        loops_.push_back({&n, first});
        walk(n.body);
        loops_.pop_back();
      }
    }
  }

  void step(const Launch& l) {
    if (!at_ || at_->instr != l.instr || &l <= at_) written_[key({Part::Space::scratch, 0, 0, 0})].clear();
    at_ = &l;
    for (size_t i = 0; i < l.writes.size(); ++i) {
      for (const Range& r : l.reads)
        if (clash(l.writes[i], r, l.kind == Launch::Kind::kernel)) bad("writes over what it reads");
      for (size_t j = 0; j < i; ++j)
        if (clash(l.writes[i], l.writes[j], false)) bad("writes the same memory twice");
    }
    for (const Range& r : l.reads) {
      const Range now = in_passes(r);
      if (!known(part(now), tag(r)))
        bad("reads bytes " + hex(now.begin, now.end) + " of " + (r.kind == Place::Kind::buffer ? "buffer " + std::to_string(r.buffer) : "scratch") + ", which do not hold what was written there, if anything was");
    }
    for (const Range& r : l.writes) {
      if (r.kind == Place::Kind::buffer && (p_.buffers[r.buffer].kind == BufferKind::feed || p_.buffers[r.buffer].kind == BufferKind::constant)) bad("writes a feed or a constant");
      note(part(r), tag(r));
    }
  }

  /// Whether two ranges of one launch share memory; the very same elements are fine when `in_place`.
  bool clash(const Range& a, const Range& b, bool in_place) const {
    const Part x = part(a), y = part(b);
    if (key(x) != key(y) || x.begin >= y.end || y.begin >= x.end) return false;
    const std::vector<const Tensor*> s = tensors(a), t = tensors(b);
    if (s.empty() || t.empty()) return !(in_place && x.begin == y.begin && x.end == y.end);
    return std::any_of(s.begin(), s.end(), [&](const Tensor* u) {
      return std::any_of(t.begin(), t.end(), [&](const Tensor* v) { return clash(*u, *v, in_place); });
    });
  }

  /// Whether two windows with the same steps have no element in common: two halves of a tensor's channels, say. Positions are written in the mixed radix of the
  /// steps, in which both windows are boxes. False also where that isn't so.
  static bool apart(const Tensor& a, uint64_t at_a, const Tensor& b, uint64_t at_b) {
    struct Side {
      uint64_t stride, length[2];
    };
    std::vector<Side> sides;
    if (a.rank != b.rank) return false;
    for (uint32_t k = 0; k < a.rank; ++k) {
      if (a.dims[k] == 1 && b.dims[k] == 1) continue;
      if (a.dims[k] > 1 && b.dims[k] > 1 && a.strides[k] != b.strides[k]) return false;
      sides.push_back({a.dims[k] > 1 ? a.strides[k] : b.strides[k], {a.dims[k], b.dims[k]}});
    }
    std::sort(sides.begin(), sides.end(), [](const Side& x, const Side& y) { return x.stride > y.stride; });
    uint64_t offset[2] = {at_a - std::min(at_a, at_b), at_b - std::min(at_a, at_b)};
    std::vector<uint64_t> first[2];
    for (const Side& s : sides) {
      if (s.stride == 0) return false;
      for (int w = 0; w < 2; ++w) first[w].push_back(offset[w] / s.stride), offset[w] %= s.stride;
    }
    if (offset[0] != offset[1]) return false;
    for (int w = 0; w < 2; ++w) {
      uint64_t reach = 0;  // of the inner sides
      for (size_t k = sides.size(); k-- > 0;) {
        if (reach >= sides[k].stride) return false;
        reach += (first[w][k] + sides[k].length[w] - 1) * sides[k].stride;
      }
    }
    for (size_t k = 0; k < sides.size(); ++k)
      if (first[0][k] + sides[k].length[0] <= first[1][k] || first[1][k] + sides[k].length[1] <= first[0][k]) return true;
    return false;
  }

  bool clash(const Tensor& a, const Tensor& b, bool in_place) const {
    const auto address = [&](const Tensor& t) { return t.offset + p_.buffers[t.buffer].offset / 4; };
    for (const Loop& loop : loops_)
      if (a.loop_strides[loop.node->level] != b.loop_strides[loop.node->level]) return true;
    const auto same_steps = [&] {
      for (uint32_t k = 0; k < kMaxRank; ++k)
        if (a.dims[k] != b.dims[k] || (a.dims[k] > 1 && a.strides[k] != b.strides[k])) return false;
      return a.rank == b.rank;
    };
    if (in_place && address(a) == address(b) && same_steps()) return false;
    const auto end = [&](const Tensor& t) {
      uint64_t e = address(t) + 1;
      for (uint32_t k = 0; k < t.rank; ++k) e += uint64_t{t.dims[k] - 1} * t.strides[k];
      return e;
    };
    if (end(a) <= address(b) || end(b) <= address(a)) return false;
    if (apart(a, address(a), b, address(b))) return false;
    if (a.elements() > kMostElements || b.elements() > kMostElements) return true;
    const auto elements = [&](const Tensor& t) {
      std::vector<uint64_t> v;
      std::array<uint32_t, kMaxRank> at{};
      for (uint64_t n = t.elements(); n > 0; --n) {
        uint64_t e = address(t);
        for (uint32_t k = 0; k < t.rank; ++k) e += uint64_t{at[k]} * t.strides[k];
        v.push_back(e);
        for (uint32_t k = t.rank; k-- > 0; at[k] = 0)
          if (++at[k] < t.dims[k]) break;
      }
      std::sort(v.begin(), v.end());
      return v;
    };
    const std::vector<uint64_t> u = elements(a), v = elements(b);
    std::vector<uint64_t> both;
    std::set_intersection(u.begin(), u.end(), v.begin(), v.end(), std::back_inserter(both));
    return !both.empty();
  }

  const LaunchList& list_;
  const Program& p_;
  const Launch* at_ = nullptr;
  uint32_t next_ = 0;
  std::map<uint64_t, Written> written_;
  std::vector<Loop> loops_;
};

}  // namespace

void check(const LaunchList& list, const Program& program) { Checker(list, program).run(); }

}  // namespace cf::cuda
