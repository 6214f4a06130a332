// Direct convolutions through cuDNN.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "cuda/gpu/device.h"
#include "cuda/gpu/disk_cache.h"
#include "cuda/machine.h"

namespace cf::cuda::gpu {

/// How one shape of convolution is computed.
class ConvolutionPlan;

/// cuDNN's convolution functions rather than its graphs: a bare convolution is all that is asked of it (what follows runs in generated kernels), and the functions say
/// of each algorithm whether it is deterministic and which arithmetic it uses. float32 operands, in exact float32 or TF32, or bfloat16 ones with float32 sums, whose
/// results these functions give in bfloat16 too.
class Convolutions {
 public:
  Convolutions(Device& device, Precision precision);
  ~Convolutions();
  Convolutions(const Convolutions&) = delete;
  Convolutions& operator=(const Convolutions&) = delete;

  /// The fastest deterministic algorithm of this arithmetic, measured once per shape, GPU and version; without a disk cache the one that cuDNN proposes.
  std::shared_ptr<const ConvolutionPlan> plan(const Convolution& convolution);
  static size_t workspace_bytes(const ConvolutionPlan& plan);
  /// Puts it on the stream. The caller holds Device::enqueue.
  void run(const ConvolutionPlan& plan, const Convolution& convolution, const Binding& binding, char* workspace) const;

 private:
  bool choose(ConvolutionPlan& plan, const Convolution& convolution, const std::string& key);

  Device& device_;
  const Precision precision_;
  const DiskCache cache_;
  cudnnHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<ConvolutionPlan>> plans_;
};

}  // namespace cf::cuda::gpu
