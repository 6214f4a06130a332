#include "program/space.h"

namespace cf {

Space simplify(const uint32_t* dims, const std::vector<std::array<uint32_t, kMaxRank>>& strides, const std::vector<uint32_t>& order) {
  Space s;
  s.strides.resize(strides.size());
  for (uint32_t k : order) {
    if (dims[k] == 1) continue;
    const uint32_t last = s.rank - 1;
    bool merge = s.rank > 0;
    for (size_t i = 0; merge && i < strides.size(); ++i) merge = s.strides[i][last] == uint64_t{dims[k]} * strides[i][k];
    const uint32_t at = merge ? last : s.rank++;
    s.dims[at] = merge ? s.dims[at] * dims[k] : dims[k];
    for (size_t i = 0; i < strides.size(); ++i) s.strides[i][at] = strides[i][k];
  }
  if (s.rank == 0) s.rank = 1, s.dims[0] = 1;
  return s;
}

}  // namespace cf
