#include "cuda/check/check.h"

#include <algorithm>
#include <map>

#include "cuda/check/form.h"
#include "cuda/check/overlap.h"
#include "cuda/stretches.h"

namespace cf::cuda {
namespace {

/// A range in memory as it is when the program runs: arena buffers are parts of one arena.
struct Part {
  enum class Space { buffer, arena, scratch } space;
  uint32_t buffer;  ///< 0 for the arena and scratch
  uint64_t begin, end;
};

/// Who wrote what last, in one space: a tag (in the arena the buffer that it belongs to).
class Written {
 public:
  void set(uint64_t begin, uint64_t end, uint32_t tag) { tags_.set(begin, end, tag); }
  bool covers(uint64_t begin, uint64_t end, uint32_t tag) const {
    const auto& all = tags_.all;
    auto at = all.upper_bound(begin);
    if (at == all.begin()) return begin >= end;
    for (--at; begin < end; ++at) {
      if (at == all.end() || at->first > begin || at->second.end <= begin || at->second.value != tag) return false;
      begin = at->second.end;
    }
    return true;
  }
  void clear() { tags_.all.clear(); }

 private:
  Stretches<uint32_t> tags_;
};

class Checker {
 public:
  Checker(const LaunchList& list, const Program& program) : list_(list), p_(program) {}

  void run() {
    for (const Launch& l : list_.launches) check_form(list_, p_, l);
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
  [[noreturn]] void bad(const std::string& message) const { refuse_launch(list_, at_, message); }

  // ---- order ----

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
    if (!at_ || at_->instr != l.instr || &l <= at_) written_[key({Part::Space::scratch, 0, 0, 0})].clear(), own_.clear();
    at_ = &l;
    for (size_t i = 0; i < l.writes.size(); ++i) {
      for (const Range& r : l.reads)
        if (clash(l.writes[i], r, l.kind == Launch::Kind::kernel)) bad("writes over what it reads");
      for (size_t j = 0; j < i; ++j)
        if (clash(l.writes[i], l.writes[j], false)) bad("writes the same memory twice");
    }
    for (const Range& r : l.reads) {
      const Range now = in_passes(r);
      if (!known(part(now), tag(r)) && !in_turn(l, r))
        bad("reads bytes " + span_text(now.begin, now.end) + " of " + (r.kind == Place::Kind::buffer ? "buffer " + std::to_string(r.buffer) : "scratch") + ", which do not hold what was written there, if anything was");
    }
    for (const Range& r : l.writes) {
      if (r.kind == Place::Kind::buffer && (p_.buffers[r.buffer].kind == BufferKind::feed || p_.buffers[r.buffer].kind == BufferKind::constant)) bad("writes a feed or a constant");
      note(part(r), tag(r));
      own_.push_back(part(r));
    }
  }

  /// Launches of one instruction may share out its elements: where they write results over an operand, a later one finds those of the earlier there.
  bool in_turn(const Launch& l, const Range& r) const {
    const auto same = [at = part(r)](const Part& p) { return key(p) == key(at) && p.begin == at.begin && p.end == at.end; };
    return std::any_of(own_.begin(), own_.end(), same) && std::any_of(l.writes.begin(), l.writes.end(), [&](const Range& w) { return same(part(w)); });
  }

  /// Whether two ranges of one launch share memory; the very same elements are fine when `in_place`.
  bool clash(const Range& a, const Range& b, bool in_place) const {
    const Part x = part(a), y = part(b);
    if (key(x) != key(y) || x.begin >= y.end || y.begin >= x.end) return false;
    const std::vector<const Tensor*> s = tensors(a), t = tensors(b);
    if (s.empty() || t.empty()) return !(in_place && x.begin == y.begin && x.end == y.end);
    std::vector<uint32_t> levels;
    for (const Loop& loop : loops_) levels.push_back(loop.node->level);
    return std::any_of(s.begin(), s.end(), [&](const Tensor* u) {
      return std::any_of(t.begin(), t.end(), [&](const Tensor* v) { return share_elements(p_, levels, *u, *v, in_place); });
    });
  }

  const LaunchList& list_;
  const Program& p_;
  const Launch* at_ = nullptr;
  uint32_t next_ = 0;
  std::map<uint64_t, Written> written_;
  std::vector<Part> own_;  ///< what earlier launches of the same instruction wrote
  std::vector<Loop> loops_;
};

}  // namespace

void check(const LaunchList& list, const Program& program) { Checker(list, program).run(); }

}  // namespace cf::cuda
