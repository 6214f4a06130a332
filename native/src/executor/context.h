// Contexts and loaded programs: who owns which memory, and the one worker thread that runs everything of a context.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "executor/backend.h"
#include "program/program.h"

namespace cf {

/// A named tensor that outlives programs.
struct State {
  DType dtype;
  std::vector<uint32_t> shape;
  Memory data;
  uint64_t bytes;
  uint32_t users = 0;  ///< loaded programs that bind it
};

/// Temporaries, shared by all programs of a context because one of them runs at a time. A run keeps its own reference: growing never moves memory in use.
struct Workspace {
  Memory arena, scratch;
};

/// A validated program, made ready by the device, with its own buffers. Knows nothing of queues and locks: Context calls it under the right one.
class Loaded {
 public:
  /// State pointers are bound by the caller.
  Loaded(Program program, const std::shared_ptr<Backend>& backend);

  /// Throws what Executable does. `commit_lock` is held while state is written.
  void run(const Workspace& workspace, const std::atomic<uint32_t>& cancel, Progress& progress, std::mutex& commit_lock);

  struct Step {
    Op op;
    uint32_t name;
    double flops;
    uint64_t bytes;  ///< read and written by one execution
  };
  std::vector<Buffer> buffers;
  std::vector<std::string> names;
  std::vector<Step> steps;  ///< one per instruction
  uint32_t commit = 0;
  uint64_t arena_bytes = 0, scratch_bytes = 0, total_steps = 0, constant_bytes = 0;
  double flops = 0;
  std::vector<uint32_t> feeds, fetches, states;  ///< buffer indices, in buffer order
  std::vector<std::shared_ptr<State>> bound;     ///< beside `states`
  std::vector<char*> base;                       ///< per buffer; arena ones are filled in when a run starts
  uint32_t pending = 0;                          ///< runs queued or going; Context's lock
  Profile profile;                               ///< written by a run, otherwise only touched when none is pending
  Watch watch;                                   ///< likewise
  bool watches = false;                          ///< whether the device can

 private:
  Memory constants_;
  std::vector<Memory> owned_;  ///< feeds and fetches
  std::unique_ptr<Executable> executable_;
};

class Context {
 public:
  explicit Context(std::shared_ptr<Backend> backend);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Backend::Info device() const { return backend_->info(); }
  const Progress& progress() const noexcept { return progress_; }

  struct Info {
    uint64_t arena_bytes, scratch_bytes, state_bytes, programs;
    uint64_t refused_bytes;  ///< that the last program needed for which there was not enough memory; 0: none
  };
  Info info() const;

  void set_state(const std::string& name, DType dtype, std::vector<uint32_t> shape, const void* data, uint64_t bytes);
  void get_state(const std::string& name, void* data, uint64_t bytes);
  void remove_state(const std::string& name);
  struct StateInfo {
    std::string name;
    DType dtype;
    std::vector<uint32_t> shape;
    uint64_t bytes;
  };
  std::vector<StateInfo> list_states() const;

  /// `program` is validated (decode) or was made by the library itself.
  std::shared_ptr<Loaded> load(Program program, bool create_missing);
  /// Cancels the program's runs and waits for them.
  void unload(const std::shared_ptr<Loaded>& program);
  void feed(Loaded& program, uint32_t index, const void* data, uint64_t bytes);
  void fetch(Loaded& program, uint32_t index, void* data, uint64_t bytes);
  /// Calls `f` while no run of the program is queued or going, and none can begin; refused otherwise.
  void when_idle(const Loaded& program, const char* op, const std::function<void()>& f);
  /// Queues a run and waits for its end.
  void run(const std::shared_ptr<Loaded>& program);
  void cancel();
  /// Cancels, waits, ends the worker. Whatever is asked afterwards is refused.
  void shutdown();

 private:
  std::shared_ptr<State> make_state(const std::string& name, DType dtype, std::vector<uint32_t> shape, uint64_t bytes, bool zero) const;
  struct Job {
    std::shared_ptr<Loaded> program;
    std::atomic<uint32_t> cancel{0};
    bool done = false;
    std::exception_ptr error;
  };
  void work();
  /// Memory and states for a program.
  void place(const std::shared_ptr<Loaded>& program, bool create_missing);
  void bind(Loaded& program, bool create_missing);
  void grow(uint64_t arena, uint64_t scratch);
  void check_open() const;

  const std::shared_ptr<Backend> backend_;
  mutable std::mutex mutex_;  ///< everything below but progress_ and the commit's lock
  std::condition_variable wake_, finished_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::shared_ptr<Job> current_;
  std::map<std::string, std::shared_ptr<State>> states_;
  std::shared_ptr<Workspace> workspace_ = std::make_shared<Workspace>();
  uint64_t programs_ = 0;
  std::atomic<uint64_t> refused_bytes_{0};
  bool closed_ = false;
  Progress progress_;
  std::mutex commit_mutex_;  ///< held while states are written; taken after mutex_, never before it
  std::once_flag joined_;
  std::thread worker_;
};

}  // namespace cf
