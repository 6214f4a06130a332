#include "cpu/finite.h"

#include <algorithm>
#include <cstring>

namespace cf::cpu {
namespace {

constexpr uint64_t kRow = 4096;  ///< elements of a dense window that are looked at together

bool is_finite(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & 0x7f800000u) != 0x7f800000u;
}

std::optional<float> in_row(const float* data, uint64_t count, uint64_t stride) {
  // Without a branch first: nearly all rows are fine.
  uint32_t bad = 0;
  for (uint64_t i = 0; i < count; ++i) bad |= !is_finite(data[i * stride]);
  if (!bad) return std::nullopt;
  for (uint64_t i = 0; i < count; ++i)
    if (!is_finite(data[i * stride])) return data[i * stride];
  return std::nullopt;
}

std::optional<float> in_window(const float* data, const Tensor& t, uint32_t axis) {
  if (axis + 1 >= t.rank) return in_row(data, t.rank == 0 ? 1 : t.dims[axis], t.rank == 0 ? 0 : t.strides[axis]);
  for (uint64_t i = 0; i < t.dims[axis]; ++i)
    if (const auto found = in_window(data + i * t.strides[axis], t, axis + 1)) return found;
  return std::nullopt;
}

}  // namespace

std::optional<float> first_not_finite(const float* data, const Tensor& t) {
  if (!t.dense()) return in_window(data, t, 0);
  const uint64_t n = t.elements();
  for (uint64_t i = 0; i < n; i += kRow)
    if (const auto found = in_row(data + i, std::min(kRow, n - i), 1)) return found;
  return std::nullopt;
}

}  // namespace cf::cpu
