// Programs of one instruction or two behind the calls that run a kernel alone.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "abi/handles.h"
#include "program/program.h"

namespace cf::abi {

/// Feeds and fetches of a direct call, in the order of the program's buffers.
struct Transfer {
  std::vector<const void*> feeds;
  std::vector<void*> fetches;
};

/// Runs the program kept under `key`, made by `make` when it is new. One direct call of a context runs at a time.
void run_direct(uint64_t ctx, const char* op, const std::string& key, const std::function<Program()>& make, const Transfer& transfer);

/// Drops what is kept for a context.
void forget_direct(uint64_t ctx) noexcept;

}  // namespace cf::abi
