// The machine that is a GPU.
#pragma once
#include <deque>
#include <memory>

#include "cuda/gpu/convolutions.h"
#include "cuda/gpu/device.h"
#include "cuda/gpu/memory.h"
#include "cuda/gpu/modules.h"
#include "cuda/gpu/products.h"
#include "cuda/machine.h"

namespace cf::cuda::gpu {

/// Launch lists as CUDA graphs on one stream, a launch after the other; with COOPFLOW_CUDA_CONCURRENT=1 independent ones run at the same time.
///
/// An error of a kernel is found by a later wait() and is the end of the GPU's context; it names the graph's launches. With COOPFLOW_CUDA_SYNC=1 launches run one by
/// one, each waited for: slow, but an error names the one launch that made it.
class GpuMachine final : public Machine {
 public:
  /// Throws Error{unsupported}.
  GpuMachine(uint32_t ordinal, Precision precision);
  ~GpuMachine() override;

  const Target& target() const override { return target_; }
  std::string describe() const override { return device_.describe(); }

  char* allocate(uint64_t bytes, const std::string& what) override { return memory_.allocate(bytes, what); }
  void release(char* p) noexcept override { memory_.release(p); }
  FreeMemory free_memory() override { return memory_.free_memory(); }
  void upload(char* to, const void* from, uint64_t bytes) override { memory_.upload(to, from, bytes); }
  void download(void* to, const char* from, uint64_t bytes) override { memory_.download(to, from, bytes); }
  void zero(char* p, uint64_t bytes) override { memory_.zero(p, bytes); }

  std::unique_ptr<Prepared> prepare(const LaunchList& list) override;
  std::unique_ptr<Graph> capture(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) override;
  void launch(const Graph& graph) override;
  void set_loop(const Binding& binding, uint32_t level, uint32_t value) override;
  void wait(uint32_t pending) override;
  std::vector<double> time(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) override;

 private:
  /// A graph on its way: where the stream is when it is over, and which launches it has.
  struct Pending {
    std::unique_ptr<Event> done;
    std::shared_ptr<const std::string> launches;
  };
  /// Records launches as nodes of the graph that is captured; concurrent ones wait for no more than they have to.
  void record(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end);
  /// Puts one launch on the stream. The caller holds Device::enqueue.
  void enqueue(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t index);
  [[noreturn]] void fail(CUresult result, const std::string& launches);

  Device device_;
  DeviceMemory memory_;
  Modules modules_;
  Products products_;
  Convolutions convolutions_;
  Target target_;
  const bool one_by_one_, concurrent_;
  std::deque<Pending> pending_;
  std::vector<std::unique_ptr<Event>> spare_;  ///< events to be used again
};

}  // namespace cf::cuda::gpu
