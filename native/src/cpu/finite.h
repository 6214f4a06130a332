// Values that are no finite numbers.
#pragma once
#include <optional>

#include "program/program.h"

namespace cf::cpu {

/// The first element of a float window, in row-major order, that is NaN or infinite. `data` is its element (0, 0, …).
std::optional<float> first_not_finite(const float* data, const Tensor& t);

}  // namespace cf::cpu
