// A GPU's stand-in for tests.
#pragma once
#include <memory>

#include "cuda/machine.h"

namespace cf::cuda {

/// With `precision`, factors of products and convolutions are rounded as a GPU's tensor cores round them; their sums are double always. `memory`: bytes that it has, as if
/// it were a small GPU; 0: all of the host's.
std::shared_ptr<Machine> emulated_machine(Precision precision = Precision::float32, uint64_t memory = 0);

}  // namespace cf::cuda
