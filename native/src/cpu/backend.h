// The CPU as a device.
#pragma once
#include <memory>

#include "cpu/kernel.h"
#include "executor/backend.h"

namespace cf::cpu {

std::shared_ptr<Backend> make_backend(const Device& device);

}  // namespace cf::cpu
