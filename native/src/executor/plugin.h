// Devices from libraries that are loaded when they are asked for, so that this one needs nothing of theirs.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "coopflow.h"
#include "executor/backend.h"

namespace cf {

/// The one function that such a library exports, as `cf_plugin_open`. Backend is a C++ class: `build` must be the library's own CF_BUILD_ID, which stands for
/// the same compiler and the same headers. Fills *err and returns its code when it cannot.
using OpenBackend = int32_t (*)(const char* build, uint32_t ordinal, uint32_t flags, std::shared_ptr<Backend>* out, cf_error* err);

/// CUDA device `ordinal`, by libcoopflow_cuda from this library's own folder (or what COOPFLOW_CUDA_PLUGIN names). flags: cf_context_flags.
/// Throws Error{unsupported} saying what is missing and what to do.
std::shared_ptr<Backend> open_cuda(uint32_t ordinal, uint32_t flags);

}  // namespace cf
