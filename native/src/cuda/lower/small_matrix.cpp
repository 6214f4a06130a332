// Inverse and log|det| of one small square matrix.
#include "cuda/kernels/small_matrix.h"

#include <cstddef>

#include "cuda/lower/dense.h"

namespace cf::cuda {
namespace {

void lower_small(Lowering& l, bool inverse) {
  const Operands o(l.program, l.instr(), 1, 1, 0);
  const Tensor& in = o.input_of_rank(0, "matrix", 2);
  const size_t n = in.dims[0];
  o.input(0, "matrix", {n, n});
  const Tensor& out = inverse ? o.output(0, "inverse", {n, n}) : o.output(0, "log|det|", {1});
  const Operand from = source(l, in), to = result(l, out);
  const uint64_t bytes = 8 * uint64_t{n} * (inverse ? 2 * n : n);
  constexpr uint64_t kStatic = 16;  // shared memory that the kernel has besides
  const bool shared = bytes + kStatic <= l.target.shared_bytes;
  SmallMatrixArgs args{};
  args.n = static_cast<uint32_t>(n);
  const Operand work = shared ? Operand{} : temporary(l, bytes);
  const std::string text = std::string(inverse ? "#define CF_INVERSE 1\n" : "") + "#include \"cuda/kernels/small_matrix.h\"\n";
  Launch& launch = l.kernel(inverse ? "matrix_inverse" : "log_abs_det", {text, true}, args, {1, 1, 1}, {kBlock, 1, 1}, shared ? static_cast<uint32_t>(bytes) : 0);
  reads(launch, offsetof(SmallMatrixArgs, in), from);
  writes(launch, offsetof(SmallMatrixArgs, out), to);
  if (!shared) writes(launch, offsetof(SmallMatrixArgs, work), work);
  l.finish_staged(out, to.place);
}

}  // namespace

void lower_matrix_inverse(Lowering& l) { lower_small(l, true); }
void lower_log_abs_det(Lowering& l) { lower_small(l, false); }

}  // namespace cf::cuda
