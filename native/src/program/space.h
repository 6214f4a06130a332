// An iteration space in its simplest form.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "program/program.h"

namespace cf {

/// Dimensions of size 1 are gone, and neighbours that every operand walks through as one are one.
struct Space {
  uint32_t rank = 0;  ///< at least 1
  std::array<uint64_t, kMaxRank> dims{};
  std::vector<std::array<uint64_t, kMaxRank>> strides;  ///< per operand

  uint64_t elements() const {
    uint64_t n = 1;
    for (uint32_t k = 0; k < rank; ++k) n *= dims[k];
    return n;
  }
};

/// The space of dims[order[0]], dims[order[1]], … (outermost first); one operand per entry of `strides`.
Space simplify(const uint32_t* dims, const std::vector<std::array<uint32_t, kMaxRank>>& strides, const std::vector<uint32_t>& order);

}  // namespace cf
