// Layer normalisation and its gradient.
#include "cuda/kernels/layer_norm.h"

#include <cmath>
#include <cstddef>

#include "cuda/lower/sum.h"

namespace cf::cuda {
namespace {

void lower_norm(Lowering& l, bool gradient) {
  const Operands o(l.program, l.instr(), 3, gradient ? 3 : 1, 1);
  const Tensor& x = l.input(0);
  if (x.rank < 1) l.refuse("x: expected rank 1 or more");
  const std::vector<size_t> dims = Operands::dims_of(x);
  const size_t c = dims.back();
  o.input(0, "x", dims), o.input(1, "gain", {c});
  o.input(2, gradient ? "dy" : "bias", gradient ? dims : std::vector<size_t>{c});
  const Tensor& y = o.output(0, gradient ? "dx" : "y", dims);
  LayerNormArgs args{};
  args.rows = x.elements() / c, args.eps = o.attr_float(0);
  if (!(args.eps >= 0.0f) || !std::isfinite(args.eps)) l.refuse("expected a finite eps of at least 0, found " + std::to_string(args.eps));

  const Operand xs = source(l, x), gain = source(l, l.input(1)), other = source(l, l.input(2)), to = result(l, y);
  const bool wide = c % 4 == 0 && xs.aligned() && gain.aligned() && other.aligned() && to.aligned();
  // Four units a thread, up to a warp a row; then up to 32 floats a thread, in as many of a block's warps as that takes.
  const uint64_t units = wide ? c / 4 : c;
  uint32_t lanes = 1;
  while (lanes < kBlock && lanes * (lanes < 32 ? 4 : wide ? 8 : 32) < units) lanes *= 2;
  const uint32_t groups = kBlock / lanes;
  const uint32_t blocks = static_cast<uint32_t>(std::min<uint64_t>(ceil_div(args.rows, groups), uint64_t{l.target.multiprocessors} * (gradient ? 2 : 8)));
  const std::string text = "#define CF_C " + std::to_string(c) + "\n#define CF_LANES " + std::to_string(lanes) + "\n#define CF_WIDE " + (wide ? "4" : "1") +
                           "" + (gradient ? "\n#define CF_GRADIENT 1" : "") + "\n#include \"cuda/kernels/layer_norm.h\"\n";
  const Operand partial = gradient ? temporary(l, 8 * uint64_t{blocks} * c) : Operand{};
  Launch& launch = l.kernel(gradient ? "layer_norm_grad" : "layer_norm", {text, true}, args, {blocks, 1, 1}, {kBlock, 1, 1});
  reads(launch, offsetof(LayerNormArgs, x), xs), reads(launch, offsetof(LayerNormArgs, gain), gain);
  reads(launch, gradient ? offsetof(LayerNormArgs, dy) : offsetof(LayerNormArgs, bias), other);
  writes(launch, offsetof(LayerNormArgs, y), to);
  if (gradient) {
    writes(launch, offsetof(LayerNormArgs, partial), partial);
    const Tensor &dgain = o.output(1, "dgain", {c}), &dbias = o.output(2, "dbias", {c});
    const Operand to_gain = result(l, dgain), to_bias = result(l, dbias);
    add_column_sums(l, "layer_norm_sum", partial, false, blocks, static_cast<uint32_t>(2 * c), to_gain, &to_bias, static_cast<uint32_t>(c));
    l.finish_staged(dgain, to_gain.place), l.finish_staged(dbias, to_bias.place);
  }
  l.finish_staged(y, to.place);
}

}  // namespace

void lower_layer_norm(Lowering& l) { lower_norm(l, false); }
void lower_layer_norm_grad(Lowering& l) { lower_norm(l, true); }

}  // namespace cf::cuda
