// The threads that share a kernel's work. A learning iteration of a small model meets a thousand times, so a meeting has to be cheap: one word written for each
// thread that takes part, one counted down by each that is done.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace cf::cpu {

/// A thread and its helpers. Who waits looks for a while, then sleeps: on a busy machine the awaited thread may need this very core.
class Team {
 public:
  /// That of the calling thread, made when it first asks, gone with it.
  static Team& mine();

  Team() = default;
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// work(context, slot) for each slot in [0, threads), each on a thread of its own, slot 0 on the owner's. Within other work of a team one after the other, here.
  /// Throws what a slot threw when all are done, and std::system_error if there can't be so many threads.
  using Work = void (*)(void* context, int slot);
  void run(int threads, Work work, void* context);

  /// A run on so many threads, for as long as it lives: where there are more than processors, nobody looks for long.
  class Running {
   public:
    explicit Running(int threads);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    const int threads_;
  };

 private:
  struct Helper;
  /// Makes room for so many threads, the owner's included.
  void grow(int threads);
  void serve(Helper& helper, int slot);
  void work_at(int slot) noexcept;
  void wait_for_helpers();

  std::vector<std::unique_ptr<Helper>> helpers_;
  Work work_ = nullptr;
  void* context_ = nullptr;
  std::mutex mutex_;  ///< of the two below
  std::condition_variable done_;
  std::exception_ptr error_;
  alignas(64) std::atomic<int> busy_{0};  ///< helpers that are not done
  std::atomic<bool> asleep_{false};       ///< the owner
};

/// f(slot) for each slot in [0, threads), on the calling thread's team.
template <class F>
void on_team(int threads, F&& f) {
  using Plain = std::remove_reference_t<F>;
  Team::mine().run(threads, [](void* context, int slot) { (*static_cast<Plain*>(context))(slot); }, const_cast<std::remove_const_t<Plain>*>(&f));
}

}  // namespace cf::cpu
