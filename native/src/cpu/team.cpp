#include "cpu/team.h"

#include <utility>

#include "cpu/device.h"

#if defined(CF_X86)
#include <immintrin.h>
#endif

namespace cf::cpu {
namespace {

constexpr int kLong = 2000, kShort = 100;  // times to look before sleeping: some 40 µs, longer than most instructions, and 2

std::atomic<int> running{0};        // threads of the runs in progress
thread_local bool at_work = false;  // within Team::run

void pause() {
#if defined(CF_X86)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Until>
bool look(Until until) {
  static const int processors = physical_cores();
  const int times = running.load(std::memory_order_relaxed) > processors ? kShort : kLong;
  for (int k = 0; k < times; ++k) {
    if (until()) return true;
    pause();
  }
  return until();
}

}  // namespace

/// Round and sleep are written and read in one order that all threads agree on: either the owner sees that the helper sleeps, or the helper sees the new round.
struct Team::Helper {
  alignas(64) std::atomic<unsigned> round{0};  // of work for it
  std::atomic<bool> asleep{false}, leave{false};
  std::mutex mutex;
  std::condition_variable wake;
  std::thread thread;

  void call() {
    round.fetch_add(1);
    if (!asleep.load()) return;
    const std::lock_guard<std::mutex> hold(mutex);
    wake.notify_one();
  }
  void wait(unsigned seen) {
    if (look([&] { return round.load(std::memory_order_acquire) != seen; })) return;
    std::unique_lock<std::mutex> hold(mutex);
    asleep.store(true);
    wake.wait(hold, [&] { return round.load() != seen; });
    asleep.store(false);
  }
};

Team& Team::mine() {
  thread_local Team team;
  return team;
}

Team::~Team() {
  for (const auto& helper : helpers_) {
    helper->leave.store(true);
    helper->call();
    helper->thread.join();
  }
}

void Team::grow(int threads) {
  while (static_cast<int>(helpers_.size()) + 1 < threads) {
    auto helper = std::make_unique<Helper>();
    const int slot = static_cast<int>(helpers_.size()) + 1;
    helper->thread = std::thread([this, slot, h = helper.get()] { serve(*h, slot); });
    helpers_.push_back(std::move(helper));
  }
}

void Team::serve(Helper& helper, int slot) {
  at_work = true;
  flush_denormals();
  for (unsigned seen = 0;; ++seen) {
    helper.wait(seen);
    if (helper.leave.load()) return;
    work_at(slot);
    if (busy_.fetch_sub(1) == 1 && asleep_.load()) {
      const std::lock_guard<std::mutex> hold(mutex_);
      done_.notify_one();
    }
  }
}

void Team::work_at(int slot) noexcept {
  try {
    work_(context_, slot);
  } catch (...) {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void Team::wait_for_helpers() {
  if (look([&] { return busy_.load(std::memory_order_acquire) == 0; })) return;
  std::unique_lock<std::mutex> hold(mutex_);
  asleep_.store(true);
  done_.wait(hold, [&] { return busy_.load() == 0; });
  asleep_.store(false);
}

void Team::run(int threads, Work work, void* context) {
  if (at_work || threads <= 1) {
    for (int slot = 0; slot < threads; ++slot) work(context, slot);
    return;
  }
  grow(threads);
  work_ = work, context_ = context;
  busy_.store(threads - 1, std::memory_order_relaxed);
  for (int k = 0; k + 1 < threads; ++k) helpers_[static_cast<size_t>(k)]->call();
  at_work = true;
  work_at(0);
  at_work = false;
  wait_for_helpers();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

Team::Running::Running(int threads) : threads_(threads) { running.fetch_add(threads, std::memory_order_relaxed); }
Team::Running::~Running() { running.fetch_sub(threads_, std::memory_order_relaxed); }

}  // namespace cf::cpu
