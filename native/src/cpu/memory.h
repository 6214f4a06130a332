// Aligned memory that says how much it wanted when there is not enough.
#pragma once
#include <cstdint>
#include <string>

namespace cf::cpu {

/// 64-byte aligned, for std::free; large ones start at a huge page. Throws Error{out_of_memory} saying what for and how many bytes. Contents are undefined.
char* allocate(uint64_t bytes, const std::string& what);

}  // namespace cf::cpu
