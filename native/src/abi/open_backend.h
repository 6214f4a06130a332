// From a device's name to the backend that runs it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "executor/backend.h"

namespace cf::abi {

/// "cpu", "cuda" or "cuda:n", with the options of cf_context_create. Throws Error{invalid_argument} for another name or for flags that the device has not,
/// Error{unsupported} for what this machine lacks.
std::shared_ptr<Backend> open_backend(const std::string& device, int32_t threads, int32_t isa, uint32_t flags, const char* op);

}  // namespace cf::abi
