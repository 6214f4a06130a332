// Matrix products through cuBLASLt.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "cuda/gpu/device.h"
#include "cuda/gpu/disk_cache.h"
#include "cuda/machine.h"

namespace cf::cuda::gpu {

/// How one shape of product is computed.
class ProductPlan;

class Products {
 public:
  Products(Device& device, Precision precision);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// The fastest of cuBLASLt's proposals, measured once per shape, GPU and version; without a disk cache its first one, so that reruns give the same bits.
  std::shared_ptr<const ProductPlan> plan(const Matmul& product);
  static size_t workspace_bytes(const ProductPlan& plan);
  /// Puts it on the stream. The caller holds Device::enqueue.
  void run(const ProductPlan& plan, const Matmul& product, const Binding& binding, char* workspace) const;

 private:
  bool choose(ProductPlan& plan, const Matmul& product, const std::string& key);

  Device& device_;
  const Precision precision_;
  const DiskCache cache_;
  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<ProductPlan>> plans_;
};

}  // namespace cf::cuda::gpu
