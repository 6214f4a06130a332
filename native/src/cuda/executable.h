// A program as a Machine runs it.
#pragma once
#include <memory>

#include "cuda/machine.h"
#include "executor/backend.h"

namespace cf::cuda {

/// A Backend on a machine. `device`: "cuda:0". `flags`: cf_context_flags; programs that ask for Winograd's algorithm, which is float32's, are refused with CF_NO_WINOGRAD
/// and by machines that compute in less. `checked`: every program's launch list goes through check().
std::shared_ptr<Backend> make_backend(std::shared_ptr<Machine> machine, const std::string& device, uint32_t flags, bool checked = false);

/// What a context's flags (cf_context_flags) ask for.
Precision precision_of(uint32_t flags);

}  // namespace cf::cuda
