// Which launches of a straight run have to wait for which, by the memory that they touch.
#pragma once
#include <cstdint>
#include <vector>

#include "cuda/machine.h"

namespace cf::cuda {

/// Memory that a launch writes besides what its list says: a library's workspace. Null: none.
struct Workspace {
  const char* data = nullptr;
  uint64_t bytes = 0;
};

/// For each of the launches [begin, end), bound to these addresses, the earlier ones (counted from `begin`, ascending) that must be over before it begins: those that
/// write what it reads or writes, and those that read what it writes. Dependencies that others imply are left out.
std::vector<std::vector<uint32_t>> dependencies(const LaunchList& list, const Binding& binding, uint32_t begin, uint32_t end, const std::vector<Workspace>& workspaces = {});

}  // namespace cf::cuda
