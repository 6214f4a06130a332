// Aligned memory that says how much it wanted when there is not enough.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace cf::cpu {

/// 64-byte aligned, sizes rounded up to 64; large ones start at a huge page. Move-only.
class Memory {
 public:
  Memory() = default;
  /// Throws Error{out_of_memory} saying what for and how many bytes. Contents are undefined unless `zero`.
  Memory(uint64_t bytes, const std::string& what, bool zero);
  Memory(Memory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr, other.bytes_ = 0; }
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();

  char* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }

 private:
  char* data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// Gives free pages of the heap back to the system, where the C library can.
void trim_heap();

}  // namespace cf::cpu
