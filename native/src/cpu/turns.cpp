#include "cpu/turns.h"

#include <algorithm>

namespace cf::cpu {
namespace {

constexpr double kWakeNs = 500;       ///< what a meeting of the threads costs
constexpr double kGainNs = 250;       ///< what a region has to save, as prices are rough
constexpr double kLongNs = 8000;      ///< who takes longer splits its own work
constexpr size_t kMostWaiting = 128;  ///< finding who depends on whom takes the square of it

/// Bytes from the lowest to behind the highest that an operand touches, in a buffer or in the arena, which several buffers may share.
struct Range {
  uint32_t memory;  ///< the buffer's index + 1; 0: the arena
  uint64_t begin, end;
  std::array<uint32_t, kMaxLoops> strides;
  uint64_t travel;  ///< how far the enclosing repeats move it at most
};

bool overlap(const Range& a, const Range& b) {
  if (a.memory != b.memory) return false;
  // Both are in the same iteration: with the same strides they move together.
  const bool together = a.strides == b.strides;
  return a.begin < b.end + (together ? 0 : b.travel) && b.begin < a.end + (together ? 0 : a.travel);
}
bool overlap(const std::vector<Range>& a, const std::vector<Range>& b) {
  return std::any_of(a.begin(), a.end(), [&](const Range& x) { return std::any_of(b.begin(), b.end(), [&](const Range& y) { return overlap(x, y); }); });
}

struct Touched {
  std::vector<Range> read, written;
};
bool depend(const Touched& a, const Touched& b) { return overlap(a.written, b.read) || overlap(a.written, b.written) || overlap(a.read, b.written); }

class Planner {
 public:
  Planner(const Program& program, const std::vector<Price>& prices, int threads) : program_(program), prices_(prices), free_(static_cast<size_t>(threads)) {}

  std::vector<Turn> plan() {
    struct Loop {
      uint32_t level, end;
    };
    std::vector<Loop> loops;
    for (uint32_t i = 0; i < program_.instrs.size(); ++i) {
      while (!loops.empty() && loops.back().end == i) run_all(), counts_[loops.back().level] = 1, loops.pop_back();
      if (i == program_.commit) run_all();
      const Instr& instr = program_.instrs[i];
      if (instr.op == Op::repeat) {
        run_all();
        alone(i);
        loops.push_back({instr.attrs[1], i + 1 + instr.attrs[2]});
        counts_[instr.attrs[1]] = std::max(1u, instr.attrs[0]);
      } else {
        add(i);
      }
    }
    run_all();
    return std::move(turns_);
  }

 private:
  /// An instruction that is put off.
  struct Waiting {
    uint32_t instr;
    Touched touched;
    std::vector<size_t> after;  ///< of waiting_
    bool needed = false;
  };

  void add(uint32_t i) {
    Touched touched;
    for (uint32_t id : program_.instrs[i].inputs) touched.read.push_back(range_of(program_.tensors[id]));
    for (uint32_t id : program_.instrs[i].outputs) touched.written.push_back(range_of(program_.tensors[id]));
    std::vector<size_t> after;
    for (size_t k = 0; k < waiting_.size(); ++k)
      if (depend(waiting_[k].touched, touched)) after.push_back(k);
    if (free_.size() > 1 && prices_[i].ns > 0 && prices_[i].ns < kLongNs) {
      waiting_.push_back({i, std::move(touched), std::move(after)});
      if (waiting_.size() == kMostWaiting) run_all();
      return;
    }
    if (!after.empty()) run_needed(after);
    alone(i);
  }

  Range range_of(const Tensor& t) const {
    const Buffer& buffer = program_.buffers[t.buffer];
    uint64_t last = t.offset, travel = 0;
    for (uint32_t k = 0; k < t.rank; ++k) last += uint64_t{t.dims[k] - 1} * t.strides[k];
    for (uint32_t k = 0; k < kMaxLoops; ++k) travel += uint64_t{counts_[k] - 1} * t.loop_strides[k];
    const bool arena = buffer.kind == BufferKind::arena;
    const uint64_t base = arena ? buffer.offset : 0;
    return {arena ? 0 : t.buffer + 1, base + 4 * t.offset, base + 4 * (last + 1), t.loop_strides, 4 * travel};
  }

  void alone(uint32_t i) { turns_.push_back({i, static_cast<uint32_t>(turns_.size() + 1), {}}); }

  void run_all() {
    if (pays()) region();
    else for (const Waiting& w : waiting_) alone(w.instr);
    waiting_.clear();
  }

  /// All that wait, if that is worth waking the threads; else only what somebody is waiting for.
  void run_needed(const std::vector<size_t>& by) {
    if (pays()) {
      region();
      waiting_.clear();
      return;
    }
    for (size_t k : by) waiting_[k].needed = true;
    for (size_t k = waiting_.size(); k-- > 0;)
      if (waiting_[k].needed)
        for (size_t before : waiting_[k].after) waiting_[before].needed = true;
    std::vector<Waiting> rest;
    std::vector<size_t> at(waiting_.size());
    for (size_t k = 0; k < waiting_.size(); ++k) {
      Waiting& w = waiting_[k];
      if (w.needed) {
        alone(w.instr);
        continue;
      }
      std::vector<size_t> after;
      for (size_t before : w.after)
        if (!waiting_[before].needed) after.push_back(at[before]);
      w.after = std::move(after);
      at[k] = rest.size();
      rest.push_back(std::move(w));
    }
    waiting_ = std::move(rest);
  }

  /// Whether one region for all that wait is faster than one after the other: goes through them as the threads will.
  bool pays() {
    double apart = 0, together = 0;
    std::fill(free_.begin(), free_.end(), 0.0);
    std::vector<double> done;
    for (const Waiting& w : waiting_) {
      const Price& price = prices_[w.instr];
      apart += price.serial ? price.ns : price.ns / static_cast<double>(free_.size()) + kWakeNs;
      double& thread = *std::min_element(free_.begin(), free_.end());
      for (size_t before : w.after) thread = std::max(thread, done[before]);
      thread += price.ns;
      done.push_back(thread);
      together = std::max(together, thread);
    }
    return together + kWakeNs + kGainNs < apart;
  }

  void region() {
    const uint32_t begin = static_cast<uint32_t>(turns_.size()), end = begin + static_cast<uint32_t>(waiting_.size());
    for (const Waiting& w : waiting_) {
      alone(w.instr);
      for (size_t before : w.after) turns_.back().after.push_back(begin + static_cast<uint32_t>(before));
    }
    turns_[begin].end = end;
  }

  const Program& program_;
  const std::vector<Price>& prices_;
  std::vector<double> free_;  ///< per thread, in pays()
  std::array<uint32_t, kMaxLoops> counts_{1, 1, 1};
  std::vector<Waiting> waiting_;
  std::vector<Turn> turns_;
};

}  // namespace

std::vector<Turn> plan_turns(const Program& program, const std::vector<Price>& prices, int threads) { return Planner(program, prices, threads).plan(); }

}  // namespace cf::cpu
