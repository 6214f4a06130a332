// Kernels' texts as functions of this process.
#pragma once
#include <string>
#include <vector>

#include "cuda/launch.h"

namespace cf::cuda::emulation {

/// The layout of shim.h's cf_emulation::Grid.
struct Grid {
  unsigned grid[3], block[3];
  unsigned shared_bytes, cooperates;
};
using Entry = const char* (*)(const Grid*, const void* args);

/// Compiles with the C++ compiler that CXX names (else c++) and loads what comes out; kept in CF_EMULATION_CACHE. Throws Error{internal} with the
/// compiler's words.
std::vector<Entry> compile(const std::vector<Kernel>& kernels);

}  // namespace cf::cuda::emulation
