#include "cuda/check/overlap.h"

#include <algorithm>
#include <iterator>

namespace cf::cuda {
namespace {

constexpr uint64_t kMostElements = 1u << 22;  ///< of operands that are compared element by element

/// Whether two windows with the same steps have no element in common: two halves of a tensor's channels, say. Positions are written in the mixed radix of the
/// steps, in which both windows are boxes. False also where that isn't so.
bool apart(const Tensor& a, uint64_t at_a, const Tensor& b, uint64_t at_b) {
  struct Side {
    uint64_t stride, length[2];
  };
  std::vector<Side> sides;
  if (a.rank != b.rank) return false;
  for (uint32_t k = 0; k < a.rank; ++k) {
    if (a.dims[k] == 1 && b.dims[k] == 1) continue;
    if (a.dims[k] > 1 && b.dims[k] > 1 && a.strides[k] != b.strides[k]) return false;
    sides.push_back({a.dims[k] > 1 ? a.strides[k] : b.strides[k], {a.dims[k], b.dims[k]}});
  }
  std::sort(sides.begin(), sides.end(), [](const Side& x, const Side& y) { return x.stride > y.stride; });
  uint64_t offset[2] = {at_a - std::min(at_a, at_b), at_b - std::min(at_a, at_b)};
  std::vector<uint64_t> first[2];
  for (const Side& s : sides) {
    if (s.stride == 0) return false;
    for (int w = 0; w < 2; ++w) first[w].push_back(offset[w] / s.stride), offset[w] %= s.stride;
  }
  if (offset[0] != offset[1]) return false;
  for (int w = 0; w < 2; ++w) {
    uint64_t reach = 0;  // of the inner sides
    for (size_t k = sides.size(); k-- > 0;) {
      if (reach >= sides[k].stride) return false;
      reach += (first[w][k] + sides[k].length[w] - 1) * sides[k].stride;
    }
  }
  for (size_t k = 0; k < sides.size(); ++k)
    if (first[0][k] + sides[k].length[0] <= first[1][k] || first[1][k] + sides[k].length[1] <= first[0][k]) return true;
  return false;
}

}  // namespace

bool share_elements(const Program& program, const std::vector<uint32_t>& levels, const Tensor& a, const Tensor& b, bool in_place) {
  const auto address = [&](const Tensor& t) { return t.offset + program.buffers[t.buffer].offset / 4; };
  for (const uint32_t level : levels)
    if (a.loop_strides[level] != b.loop_strides[level]) return true;
  const auto same_steps = [&] {
    for (uint32_t k = 0; k < kMaxRank; ++k)
      if (a.dims[k] != b.dims[k] || (a.dims[k] > 1 && a.strides[k] != b.strides[k])) return false;
    return a.rank == b.rank;
  };
  if (in_place && address(a) == address(b) && same_steps()) return false;
  const auto end = [&](const Tensor& t) {
    uint64_t e = address(t) + 1;
    for (uint32_t k = 0; k < t.rank; ++k) e += uint64_t{t.dims[k] - 1} * t.strides[k];
    return e;
  };
  if (end(a) <= address(b) || end(b) <= address(a)) return false;
  if (apart(a, address(a), b, address(b))) return false;
  if (a.elements() > kMostElements || b.elements() > kMostElements) return true;
  const auto elements = [&](const Tensor& t) {
    std::vector<uint64_t> v;
    std::array<uint32_t, kMaxRank> at{};
    for (uint64_t n = t.elements(); n > 0; --n) {
      uint64_t e = address(t);
      for (uint32_t k = 0; k < t.rank; ++k) e += uint64_t{at[k]} * t.strides[k];
      v.push_back(e);
      for (uint32_t k = t.rank; k-- > 0; at[k] = 0)
        if (++at[k] < t.dims[k]) break;
    }
    std::sort(v.begin(), v.end());
    return v;
  };
  const std::vector<uint64_t> u = elements(a), v = elements(b);
  std::vector<uint64_t> both;
  std::set_intersection(u.begin(), u.end(), v.begin(), v.end(), std::back_inserter(both));
  return !both.empty();
}

}  // namespace cf::cuda
