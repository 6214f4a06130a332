// A program as the CPU runs it: one kernel after the other, except for small ones (turns.h).
#pragma once
#include <memory>

#include "cpu/kernel.h"
#include "executor/backend.h"

namespace cf::cpu {

/// Makes every kernel.
std::unique_ptr<Executable> make_executable(const Program& program, const Device& device);

}  // namespace cf::cpu
