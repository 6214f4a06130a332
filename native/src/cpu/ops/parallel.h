// How the kernels of this folder use OpenMP: a fixed number of threads, and loops whose results do not depend on who takes which iteration.
#pragma once
#include <cstddef>

namespace cf::cpu {

/// f(i) for i in [0, n) on exactly `threads` threads (fewer only if OpenMP gives fewer); every i is its own unit of work.
template <class F>
void parallel_for(int threads, size_t n, F&& f) {
  if (threads <= 1 || n <= 1) {
    for (size_t i = 0; i < n; ++i) f(i);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (size_t i = 0; i < n; ++i) f(i);
}

/// Part `i` of `parts` nearly equal parts of [0, n), cut at multiples of `grain`.
struct Part {
  size_t begin, end;
};
inline Part part_of(size_t n, size_t parts, size_t i, size_t grain = 1) {
  const size_t units = (n + grain - 1) / grain;
  const size_t b = units * i / parts * grain, e = units * (i + 1) / parts * grain;
  return {b < n ? b : n, e < n ? e : n};
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
