// Kernels' texts to machine code, by NVRTC. Needs no GPU.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "cuda/gpu/disk_cache.h"
#include "cuda/gpu/libraries.h"

namespace cf::cuda::gpu {

/// The headers that kernels' texts may include, as {name in the #include, text}: a build step makes them part of this library.
const std::vector<std::pair<std::string, std::string>>& embedded_headers();

class Compiler {
 public:
  /// For devices of compute capability major.minor; where NVRTC is older than the device it makes PTX for the driver to finish.
  Compiler(const Nvrtc& nvrtc, int major, int minor, DiskCache cache);

  /// A cubin (or PTX) for each text, in their order: from the cache, else compiled by as many threads as the machine has. Throws Error{internal} with NVRTC's words.
  std::vector<std::string> compile(const std::vector<std::string>& texts) const;

 private:
  std::string compile(const std::string& text) const;

  const Nvrtc& nvrtc_;
  const DiskCache cache_;
  std::string arch_;  ///< NVRTC's option
  bool ptx_ = false;
  std::string key_;  ///< whatever else than the text decides what comes out
};

}  // namespace cf::cuda::gpu
