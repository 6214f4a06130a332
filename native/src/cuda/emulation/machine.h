// A GPU's stand-in for tests.
#pragma once
#include <memory>

#include "cuda/machine.h"

namespace cf::cuda {

std::shared_ptr<Machine> emulated_machine();

}  // namespace cf::cuda
