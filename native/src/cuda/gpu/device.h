// One GPU: its context, its stream, and what is known of it.
#pragma once
#include <mutex>
#include <string>

#include "cuda/gpu/libraries.h"

namespace cf::cuda::gpu {

struct Device {
  /// Throws Error{unsupported}: no driver, no GPU `ordinal`, a library that is missing.
  explicit Device(uint32_t ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Driver& cu;
  const Nvrtc& rtc;
  const Blas& lt;
  const Dnn& nn;

  CUdevice device = 0;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  std::string name;
  int major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0, shared_opt_in = 0;
  size_t memory = 0;

  /// Whoever puts something on the stream holds it: a capture takes all that comes meanwhile. It guards cuDNN's handle and the descriptors of plans too.
  std::mutex enqueue;

  /// Makes the context the calling thread's: before any other call.
  void enter() const { check(cu.cuCtxSetCurrent(context), "cuCtxSetCurrent"); }
  int attribute(CUdevice_attribute which) const;
  std::string describe() const;
  /// For keys of caches: choices that were measured hold for this GPU and these versions.
  std::string identity() const;
};

/// Device memory for a moment.
class Temporary {
 public:
  /// Filled with ones. Throws Error{out_of_memory}.
  Temporary(Device& device, size_t bytes);
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  char* data() const { return reinterpret_cast<char*>(pointer_); }

 private:
  const Device& device_;
  CUdeviceptr pointer_ = 0;
};

/// A point in the stream.
class Event {
 public:
  Event(const Device& device, unsigned flags);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { check(device_.cu.cuEventRecord(event_, device_.stream), "cuEventRecord"); }
  CUresult wait() { return device_.cu.cuEventSynchronize(event_); }
  /// Both were made with CU_EVENT_DEFAULT, and both are over.
  double seconds_since(const Event& before) const;

 private:
  const Device& device_;
  CUevent event_ = nullptr;
};

/// Least seconds of a few runs of `enqueue`, which puts work on the stream; negative when it fails.
template <class Enqueue>
double measure(Device& device, const Enqueue& enqueue) {
  constexpr int kRuns = 5;
  Event begin(device, CU_EVENT_DEFAULT), end(device, CU_EVENT_DEFAULT);
  double best = -1;
  for (int run = 0; run <= kRuns; ++run) {  // the first one warms up
    const std::lock_guard<std::mutex> hold(device.enqueue);
    begin.record();
    if (!enqueue()) return -1;
    end.record();
    check(end.wait(), "measuring");
    const double seconds = end.seconds_since(begin);
    if (run > 0 && (best < 0 || seconds < best)) best = seconds;
  }
  return best;
}

}  // namespace cf::cuda::gpu
