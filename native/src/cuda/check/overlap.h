// Whether two operands of a launch have elements in common.
#pragma once
#include <vector>

#include "program/program.h"

namespace cf::cuda {

/// Both windows as they are in any one pass of the loops at `levels`, in the memory that the program's buffers are parts of. The very same elements in the same order
/// don't count when `in_place`. Where it can't be told (they move differently, or are too large to be compared element by element) the answer is true.
bool share_elements(const Program& program, const std::vector<uint32_t>& levels, const Tensor& a, const Tensor& b, bool in_place);

}  // namespace cf::cuda
