// Pins the instruction set to its twin in src/compile/opcodes.ts: a program whose hash differs was made for another table and is refused.
#pragma once
#include <cstdint>

namespace cf {

constexpr uint64_t kOpTableHash = 0xa209ff796e808278;

}  // namespace cf
