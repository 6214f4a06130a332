// What a device's memory is needed for, for people who have too little of it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"
#include "program/program.h"

namespace cf {

/// Of a device's memory; both 0 where it is the host's.
struct FreeMemory {
  uint64_t free = 0, total = 0;
};

/// "1.50 GiB", "20.0 MiB".
std::string size_text(uint64_t bytes);

/// What allocating throws on a device: `what` for, how much was asked for, and is free.
Error out_of_memory(const std::string& device, const std::string& what, uint64_t bytes, const FreeMemory& memory);

/// The memory that a program works in.
class MemoryNeeds {
 public:
  explicit MemoryNeeds(const Program& program);
  /// Temporaries, scratch, feeds and fetches.
  uint64_t bytes(uint64_t scratch) const { return arena_ + scratch + ports_; }
  /// How much of what, beside `state` bytes; which temporaries are the largest, by op and layer. `scratch`: bytes, 0 where not known yet.
  std::string text(uint64_t scratch, uint64_t state) const;

 private:
  uint64_t arena_, ports_ = 0;
  std::string largest_;
};

}  // namespace cf
