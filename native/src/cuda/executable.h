// A program as a Machine runs it.
#pragma once
#include <memory>

#include "cuda/machine.h"
#include "executor/backend.h"

namespace cf::cuda {

/// A Backend on a machine. `device`: "cuda:0". `checked`: every program's launch list goes through check().
std::shared_ptr<Backend> make_backend(std::shared_ptr<Machine> machine, const std::string& device, bool winograd, bool checked = false);

}  // namespace cf::cuda
