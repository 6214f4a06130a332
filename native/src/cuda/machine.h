// What running a launch list needs of a device. Two make it: the GPU (cuda/gpu), and a host emulation for tests (cuda/emulation).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "cuda/lowering.h"
#include "executor/device_memory.h"

namespace cf::cuda {

/// Pointers of one binding: a program's buffers, scratch and loop counters.
struct Binding {
  std::vector<char*> buffers;
  char* scratch = nullptr;
  char* loops = nullptr;
  char* at(const Place& p) const {
    switch (p.kind) {
      case Place::Kind::buffer: return buffers[p.buffer] + p.offset;
      case Place::Kind::scratch: return scratch + p.offset;
      case Place::Kind::loops: return loops + p.offset;
    }
    return nullptr;
  }
};

/// A straight run of launches, ready to be started as one.
class Graph {
 public:
  virtual ~Graph() = default;
};

/// What compiling and planning a launch list gave: modules, chosen algorithms. Knows no addresses.
class Prepared {
 public:
  virtual ~Prepared() = default;
  uint64_t scratch_bytes = 0;  ///< the list's own and what the libraries want beside it
};

/// One device with one stream. Everything is called from one thread, except allocate, release and the copies. All methods throw Error.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual const Target& target() const = 0;
  virtual std::string describe() const = 0;  ///< for people: name, memory, versions

  virtual char* allocate(uint64_t bytes, const std::string& what) = 0;  ///< 256-aligned; undefined contents; throws out_of_memory()
  virtual void release(char* p) noexcept = 0;
  virtual FreeMemory free_memory() = 0;
  virtual void upload(char* to, const void* from, uint64_t bytes) = 0;  ///< the copies and zero end when everything before them has
  virtual void download(void* to, const char* from, uint64_t bytes) = 0;
  virtual void zero(char* p, uint64_t bytes) = 0;

  virtual std::unique_ptr<Prepared> prepare(const LaunchList& list) = 0;
  /// Launches [begin, end) of the list as one graph.
  virtual std::unique_ptr<Graph> capture(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) = 0;
  virtual void launch(const Graph& graph) = 0;
  /// Sets loops[level], in the order of the stream.
  virtual void set_loop(const Binding& binding, uint32_t level, uint32_t value) = 0;
  /// Waits until at most `pending` of the launches are not done. Reports errors of the device, naming the launch where it can.
  virtual void wait(uint32_t pending) = 0;
  /// Seconds of each launch, run one by one: for profiles.
  virtual std::vector<double> time(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) = 0;
};

}  // namespace cf::cuda
