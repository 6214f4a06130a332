// What a device offers the executor: memory, and programs made ready to run. cpu/backend.h is one; others come from libraries loaded at run time
// (executor/plugin.h).
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "executor/device_memory.h"
#include "program/program.h"

namespace cf {

/// Written by the worker, polled by anyone.
struct Progress {
  std::atomic<uint64_t> serial{0}, done{0}, total{0}, commit{0};
};

/// What a program's runs took, while measuring is on.
class Profile {
 public:
  struct Stat {
    uint64_t calls = 0, nanoseconds = 0;
  };
  /// One execution of an instruction, in nanoseconds since measuring began.
  struct Event {
    uint64_t instr, begin, nanoseconds;
  };
  static constexpr size_t kMaxEvents = 1u << 18;

  /// Starts from zero: here the room is made, so that a run allocates nothing.
  void start(size_t instrs);
  void stop() noexcept { on_ = false; }
  bool on() const noexcept { return on_; }
  uint64_t now() const;  ///< nanoseconds since start
  void note(uint32_t instr, uint64_t begin, uint64_t nanoseconds);

  std::vector<Stat> stats;    ///< per instruction
  std::vector<Event> events;  ///< the first kMaxEvents

 private:
  bool on_ = false;
  std::chrono::steady_clock::time_point begin_;
};

/// Where the first value that is not finite came up, while that is watched.
class Watch {
 public:
  struct Found {
    uint32_t instr;
    std::vector<uint32_t> loops;  ///< iteration of each enclosing repeat, outermost first
    float value;
  };

  void start() { on_ = true, found_.reset(); }
  void stop() noexcept { on_ = false; }
  /// Whether to look: later values of a run only follow from the first.
  bool on() const noexcept { return on_ && !found_; }
  void note(Found found) { found_ = std::move(found); }
  const std::optional<Found>& found() const noexcept { return found_; }

 private:
  bool on_ = false;
  std::optional<Found> found_;
};

/// What one run works on.
struct Invocation {
  const std::vector<char*>& base;  ///< per Program::buffers entry, memory of the backend
  char* scratch;                   ///< Executable::scratch_bytes bytes, contents undefined
  const std::atomic<uint32_t>& cancel;
  Progress& progress;
  Profile& profile;
  Watch& watch;
};

/// A program made ready by a backend. Both methods return when all is done, throw Error with the instruction's name in it, and choose and allocate nothing.
class Executable {
 public:
  virtual ~Executable() = default;
  /// The instructions before the commit. Throws Error{cancelled}, or returns early, once `cancel` is set.
  virtual void propose(const Invocation& call) = 0;
  /// The commit's instructions; cannot be cancelled.
  virtual void commit(const Invocation& call) = 0;

  uint64_t scratch_bytes = 0;
  bool watches = false;       ///< whether it looks for values that are not finite when asked to
  std::vector<double> flops;  ///< per instruction, of one execution; 0 for repeats
};

class Backend {
 public:
  virtual ~Backend() = default;

  struct Info {
    std::string device;  ///< "cpu", "cuda:0"
    std::string detail;  ///< for people: the processor's name and what runs on it
    int threads;         ///< of the host
    std::string isa;
    bool winograd;
    uint64_t peak_bytes;  ///< most memory of its own that a device held for this context; 0 where memory is the host's
    FreeMemory memory{};  ///< of the device, now
  };
  virtual Info info() const = 0;

  /// Aligned for any kernel. Throws Error{out_of_memory} saying what for and how many bytes. Contents are undefined.
  virtual char* allocate(uint64_t bytes, const std::string& what) = 0;
  virtual void release(char* p) noexcept = 0;
  virtual void zero(char* p, uint64_t bytes) = 0;
  /// Copies between the host and the device; done when they return.
  virtual void upload(char* to, const void* from, uint64_t bytes) = 0;
  virtual void download(void* to, const char* from, uint64_t bytes) = 0;

  /// `program` is validated. Throws Error{invalid_program} for operands that an op can't take, Error{unsupported} for what the device can't do.
  virtual std::unique_ptr<Executable> prepare(const Program& program) = 0;
};

/// Memory of a backend. Move-only.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Backend> backend, uint64_t bytes, const std::string& what, bool zero);
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept { return swap(other), *this; }
  ~Memory();

  char* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  void swap(Memory& other) noexcept;
  std::shared_ptr<Backend> backend_;
  char* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace cf
