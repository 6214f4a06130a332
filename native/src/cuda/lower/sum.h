// Sums of the columns of a dense matrix (lower/sum.cpp).
#pragma once
#include "cuda/lower/dense.h"

namespace cf::cuda {

/// out = Σ over rows of in[rows, columns], floats or doubles; one launch where there are few rows, else two. With `second`, columns from `split` on go there.
void add_column_sums(Lowering&, const std::string& name, const Operand& in, bool doubles, uint64_t rows, uint32_t columns, const Operand& out,
                     const Operand* second = nullptr, uint32_t split = 0);

}  // namespace cf::cuda
