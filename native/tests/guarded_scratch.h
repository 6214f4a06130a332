// A kernel's scratch with guard words behind each part of it.
#pragma once
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "cpu/kernel.h"

namespace cf::test {

class GuardedScratch {
 public:
  GuardedScratch(const cpu::Kernel& kernel, int threads)
      : shared_(rounded(kernel.scratch_bytes())), own_(rounded(kernel.own_bytes())), threads_(static_cast<size_t>(threads)), memory_(allocate(bytes())) {
    std::memset(memory_.get(), kUnwritten, bytes());  // NaN: reading what was never written shows
  }
  cpu::ScratchMemory view() const { return {memory_.get(), memory_.get() + shared_ + kGuard, own_ + kGuard}; }
  /// Was anything written behind a part?
  bool intact() const {
    const cpu::ScratchMemory m = view();
    bool all = whole(m.shared + shared_);
    for (size_t slot = 0; slot < threads_; ++slot) all = all && whole(m.own + slot * m.own_step + own_);
    return all;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr char kUnwritten = static_cast<char>(0xff);
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }
  static char* allocate(size_t bytes) {
    char* const p = static_cast<char*>(std::aligned_alloc(64, bytes));
    if (!p) throw std::bad_alloc();
    return p;
  }
  static bool whole(const char* guard) {
    for (size_t i = 0; i < kGuard; ++i)
      if (guard[i] != kUnwritten) return false;
    return true;
  }
  size_t bytes() const { return shared_ + kGuard + threads_ * (own_ + kGuard); }

  size_t shared_, own_, threads_;
  std::unique_ptr<char, Free> memory_;
};

}  // namespace cf::test
