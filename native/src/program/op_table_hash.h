// Pins the instruction set to its twin in src/compile/opcodes.ts: a program whose hash differs was made for another table and is refused.
#pragma once
#include <cstdint>

namespace cf {

constexpr uint64_t kOpTableHash = 0x8688568f6105dc7b;

}  // namespace cf
