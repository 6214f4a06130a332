// An iteration space in its simplest form, and operands seen along it. Dimensions of size 1 are gone, and neighbours that every operand
// walks through as one are one. What is left is `rows` rows of `cols` elements, the innermost dimension.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "cpu/kernels/copy.h"
#include "program/expr.h"
#include "program/space.h"

namespace cf::cpu {

constexpr uint64_t kBlock = 2048;  ///< elements gathered at a time: a few operands of it fit the first-level cache

struct Nest {
  struct Operand {
    std::array<uint64_t, kMaxRank> strides{};
    bool uniform = false;   ///< one element for the whole space
    bool flat = false;      ///< element i of the iteration order lies at i
    bool periodic = false;  ///< the same for every row
    uint64_t inner() const { return last; }
    uint64_t last = 0;  ///< stride of the innermost dimension
  };

  uint32_t rank = 0;  ///< at least 1
  std::array<uint64_t, kMaxRank> dims{};
  std::vector<Operand> operands;
  uint64_t rows = 1, cols = 1;

  uint64_t elements() const { return rows * cols; }
  uint64_t offset(const Operand& o, uint64_t row) const {
    uint64_t at = 0;
    for (uint32_t k = rank - 1; k-- > 0; row /= dims[k]) at += row % dims[k] * o.strides[k];
    return at;
  }

  /// The elements of rows [row, row + rows) × columns [col, col + cols) in iteration order: a pointer into the operand where they already lie so,
  /// else a copy in `buffer`. *broadcast becomes 1 when one element stands for all.
  const float* read(const Operand& o, const float* base, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, float* buffer, uint8_t* broadcast,
                    Copy2d copy) const;
  /// Copies always.
  void gather(const Operand& o, const float* base, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, float* to, Copy2d copy) const;
  void scatter(const Operand& o, float* base, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, const float* from, Copy2d copy) const;
  /// From one operand to another.
  void transfer(const Operand& src, const float* in, const Operand& dst, float* out, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols,
                Copy2d copy) const;
  /// read() for operands 0 … n − 1, each with kBlock floats of `blocks`. *ready remembers which periodic operands already lie there, for a caller who
  /// goes through whole rows with the same base pointers; else it is null.
  void read_all(uint32_t n, const float* const* base, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, float* blocks, uint32_t* ready,
                const float** from, uint8_t* broadcast, Copy2d copy) const;
  uint64_t row_step(const Operand& o) const { return rank > 1 ? o.strides[rank - 2] : 0; }
  /// Do neighbours in memory lie in neighbouring rows instead of columns? Then a tile should have many rows.
  bool crossed(const Operand& o) const { return rank > 1 && o.last > 1 && o.strides[rank - 2] > 0 && o.strides[rank - 2] < o.last; }
  /// Could read() return a pointer into the operand when it is asked for part of one row, or write there directly?
  static bool straight(const Operand& o) { return o.last <= 1; }
};

/// The space of dims[order[0]], dims[order[1]], …; one operand per entry of `strides`.
Nest make_nest(const uint32_t* dims, const std::vector<std::array<uint32_t, kMaxRank>>& strides, const std::vector<uint32_t>& order);

/// [begin, end) of thread t's share of n units, the same for every run.
inline void share(uint64_t n, int t, int threads, uint64_t* begin, uint64_t* end) {
  const uint64_t each = n / static_cast<uint64_t>(threads), more = n % static_cast<uint64_t>(threads), u = static_cast<uint64_t>(t);
  *begin = u * each + (u < more ? u : more);
  *end = *begin + each + (u < more ? 1 : 0);
}

}  // namespace cf::cpu
