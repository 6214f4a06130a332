// Expressions as CUDA C++.
#pragma once
#include <string>
#include <vector>

#include "program/expr.h"

namespace cf::cuda {

/// `__device__ __forceinline__ void NAME(const float* x, float* y) { … }`: y[j] = result j of inputs x[i], for one element. x and y are meant to be small local
/// arrays (registers, once inlined) and must not overlap. The text needs "cuda/kernels/expr.h".
std::string expression_source(const Expression& e, const std::string& name);

/// The same for an expression whose value 0 is a product or convolution without its bias: the bias becomes a further input behind value 0.
Expression with_bias(const Expression& e);

/// `e` without the inputs that its results don't depend on; `kept` becomes the ids of the others.
Expression without_unused(const Expression& e, std::vector<uint32_t>& kept);

/// The expression whose only result is its only input.
Expression identity_expression();

}  // namespace cf::cuda
