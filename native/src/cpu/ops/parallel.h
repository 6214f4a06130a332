// How the kernels of this folder use threads: a fixed number of them, and loops whose results do not depend on who takes which iteration.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "cpu/team.h"

namespace cf::cpu {

/// Part `i` of `parts` nearly equal parts of [0, n), cut at multiples of `grain`.
struct Part {
  size_t begin, end;
};
inline Part part_of(size_t n, size_t parts, size_t i, size_t grain = 1) {
  const size_t units = (n + grain - 1) / grain;
  const size_t b = units * i / parts * grain, e = units * (i + 1) / parts * grain;
  return {b < n ? b : n, e < n ? e : n};
}

constexpr int kMaxThreads = 1024;  ///< of a device: Shares has room for so many

/// Hands out the units [0, n) to threads. Each works through a share of its own from the front; who has finished takes from the back of the others', so that
/// nobody waits for a thread that started late or is slower, and what a thread wrote last time is mostly still in its own cache.
class Shares {
 public:
  Shares(size_t n, size_t threads) : threads_(threads) {
    for (size_t t = 0; t < threads; ++t) {
      const Part own = part_of(n, threads, t);
      left_[t].range.store(uint64_t{own.end} << 32 | own.begin, std::memory_order_relaxed);
    }
  }
  /// The next unit for thread `slot`; false: none is left.
  bool take(size_t slot, size_t* unit) {
    if (take_from(slot, true, unit)) return true;
    for (size_t i = 1; i < threads_; ++i)
      if (take_from((slot + i) % threads_, false, unit)) return true;
    return false;
  }

 private:
  bool take_from(size_t t, bool front, size_t* unit) {
    std::atomic<uint64_t>& range = left_[t].range;
    uint64_t now = range.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t begin = now & 0xffffffffu, end = now >> 32;
      if (begin >= end) return false;
      // What a unit computes is ordered by the barrier at the end alone, so relaxed exchanges do.
      if (range.compare_exchange_weak(now, front ? now + 1 : now - (uint64_t{1} << 32), std::memory_order_relaxed)) {
        *unit = front ? begin : end - 1;
        return true;
      }
    }
  }
  struct alignas(64) Range {
    std::atomic<uint64_t> range;
  };
  size_t threads_;
  Range left_[kMaxThreads];
};

/// f(slot, unit) for each unit in [0, n), n < 2^32, on `threads` threads. Calls with one slot never overlap, so that each
/// slot may have its own scratch; which slot gets which unit differs from run to run, so that nothing else may depend on it.
template <class F>
void parallel_units(int threads, size_t n, F&& f) {
  if (threads <= 1 || n <= 1) {
    for (size_t i = 0; i < n; ++i) f(size_t{0}, i);
    return;
  }
  Shares shares(n, static_cast<size_t>(threads));
  on_team(threads, [&](int slot) {
    size_t unit;
    while (shares.take(static_cast<size_t>(slot), &unit)) f(static_cast<size_t>(slot), unit);
  });
}

/// f(i) for i in [0, n) on `threads` threads; every i is its own unit of work.
template <class F>
void parallel_for(int threads, size_t n, F&& f) {
  if (threads > 1 && n > static_cast<size_t>(threads)) return parallel_units(threads, n, [&](size_t, size_t i) { f(i); });
  if (threads <= 1 || n <= 1) {
    for (size_t i = 0; i < n; ++i) f(i);
    return;
  }
  on_team(static_cast<int>(n), [&](int i) { f(static_cast<size_t>(i)); });
}

inline size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
inline size_t ceil_div(size_t n, size_t unit) { return (n + unit - 1) / unit; }

/// Distance in floats for rows that are walked across: at least n, whole cache lines, and an odd number of them, so that neighbours never share a cache set.
inline size_t odd_lines(size_t n) { return (round_up(n, 16) / 16 | 1) * 16; }

/// Hands out 64-byte aligned pieces of a kernel's scratch; with a null base it only counts.
class Scratch {
 public:
  explicit Scratch(char* base = nullptr) : base_(base) {}
  float* floats(size_t n) {
    float* p = base_ ? reinterpret_cast<float*>(base_ + used_) : nullptr;
    used_ += round_up(n * sizeof(float), 64);
    return p;
  }
  char* bytes(size_t n) {
    char* p = base_ ? base_ + used_ : nullptr;
    used_ += round_up(n, 64);
    return p;
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace cf::cpu
