// Compiled kernels, loaded on a device.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/gpu/compiler.h"
#include "cuda/gpu/device.h"
#include "cuda/launch.h"

namespace cf::cuda::gpu {

class Modules {
 public:
  explicit Modules(Device& device) : device_(device), compiler_(device.rtc, device.major, device.minor, DiskCache()) {}
  ~Modules();
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;

  /// The list's kernels, ready to be launched as its launches do. Throws Error{internal} for text that does not compile, Error{unsupported} where a block needs more
  /// than the device has.
  std::vector<CUfunction> load(const LaunchList& list);

 private:
  struct Loaded {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    size_t args_bytes = 0;
    int static_shared = 0, max_threads = 0;
    int dynamic_shared = 0;  ///< that it is allowed
  };
  Loaded load(const std::string& code) const;
  void allow(Loaded& kernel, const Launch& launch) const;

  Device& device_;
  const Compiler compiler_;
  std::mutex mutex_;
  std::unordered_map<std::string, Loaded> loaded_;  ///< by text
};

}  // namespace cf::cuda::gpu
