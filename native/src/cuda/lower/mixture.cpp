// Mixture-of-logistics coupling: density direction, its gradient, sampling direction.
#include <cstddef>

#include "cuda/kernels/mixture.h"
#include "cuda/kernels/row_sum.h"
#include "cuda/lower/sum.h"

namespace cf::cuda {
namespace {

constexpr uint32_t kMaxComponents = 64;

struct Mixture {
  Operands operands;
  uint64_t images, pixels, channels, components;
  MixtureArgs args{};
  std::array<uint32_t, 3> grid;
  std::string head;

  Mixture(Lowering& l, size_t inputs, size_t outputs) : operands(l.program, l.instr(), inputs, outputs, 1) {
    const Tensor& x = operands.input_of_rank(0, "x", 3);
    images = x.dims[0], pixels = x.dims[1], channels = x.dims[2], components = operands.attr(0);
    if (components < 1 || components > kMaxComponents) l.refuse("expected 1 to 64 components, found " + std::to_string(components));
    operands.input(1, "p", parameters());
    operands.input(2, "rescale", {channels});
    uint32_t lanes = 1;
    while (lanes < 32 && lanes * 8 < components) lanes *= 2;
    args.elements = static_cast<uint32_t>(pixels * channels), args.channels = static_cast<uint32_t>(channels);
    // Few enough blocks that a block's sum of logarithms is worth its end, enough of them for all multiprocessors.
    const uint64_t groups = ceil_div(args.elements, kBlock / lanes), enough = 16 * uint64_t{l.target.multiprocessors};
    args.rounds = static_cast<uint32_t>(std::max<uint64_t>(1, std::min<uint64_t>(groups, groups * images / enough)));
    grid = {static_cast<uint32_t>(images), static_cast<uint32_t>(ceil_div(groups, args.rounds)), 1};
    head = "#define CF_K " + std::to_string(components) + "\n#define CF_LANES " + std::to_string(lanes) + "\n";
  }
  std::vector<size_t> like_x() const { return {images, pixels, channels}; }
  std::vector<size_t> parameters() const { return {images, pixels, channels * (2 + 3 * components)}; }

  Launch& launch(Lowering& l, const std::string& name, const Operand& x, const Operand& p, const Operand& rescale, const Operand& y) const {
    Launch& launch = l.kernel(name, {head + "#include \"cuda/kernels/" + name + ".h\"\n", true}, args, grid, {kBlock, 1, 1});
    reads(launch, offsetof(MixtureArgs, x), x), reads(launch, offsetof(MixtureArgs, p), p), reads(launch, offsetof(MixtureArgs, rescale), rescale);
    writes(launch, offsetof(MixtureArgs, y), y);
    return launch;
  }
};

/// Both directions look alike from outside: x, p, rescale → y, logdet.
void lower_direction(Lowering& l, const std::string& name) {
  const Mixture m(l, 3, 2);
  const Tensor &y = m.operands.output(0, "y", m.like_x()), &logdet = m.operands.output(1, "logdet", {m.images});
  const Operand x = source(l, l.input(0)), p = source(l, l.input(1)), rescale = source(l, l.input(2)), to = result(l, y), sums = result(l, logdet);
  const uint32_t blocks = m.grid[1];
  if (blocks == 1) {
    writes(m.launch(l, name, x, p, rescale, to), offsetof(MixtureArgs, logdet), sums);
  } else {
    const Operand partial = temporary(l, 8 * m.images * blocks);
    writes(m.launch(l, name, x, p, rescale, to), offsetof(MixtureArgs, partial), partial);
    RowSumArgs args{};
    args.rows = static_cast<uint32_t>(m.images), args.columns = blocks;
    Launch& launch = l.kernel("logdet_sum", {"#include \"cuda/kernels/row_sum.h\"\n"}, args, {cf::cuda::blocks(m.images), 1, 1}, {kBlock, 1, 1});
    reads(launch, offsetof(RowSumArgs, in), partial);
    writes(launch, offsetof(RowSumArgs, out), sums);
  }
  l.finish_staged(y, to.place), l.finish_staged(logdet, sums.place);
}

}  // namespace

void lower_mixture(Lowering& l) { lower_direction(l, "mixture_forward"); }
void lower_mixture_inverse(Lowering& l) { lower_direction(l, "mixture_inverse"); }

void lower_mixture_grad(Lowering& l) {
  const Mixture m(l, 5, 3);
  m.operands.input(3, "dy", m.like_x()), m.operands.input(4, "dlogdet", {m.images});
  const Tensor &dx = m.operands.output(0, "dx", m.like_x()), &dp = m.operands.output(1, "dp", m.parameters()), &drescale = m.operands.output(2, "drescale", {m.channels});
  const Operand x = source(l, l.input(0)), p = source(l, l.input(1)), rescale = source(l, l.input(2)), dy = source(l, l.input(3)), dlogdet = source(l, l.input(4));
  const Operand to = result(l, dx), to_p = result(l, dp), to_rescale = result(l, drescale), shares = temporary(l, 4 * dx.elements());
  Launch& launch = m.launch(l, "mixture_grad", x, p, rescale, to);
  reads(launch, offsetof(MixtureArgs, dy), dy), reads(launch, offsetof(MixtureArgs, dlogdet), dlogdet);
  writes(launch, offsetof(MixtureArgs, dp), to_p), writes(launch, offsetof(MixtureArgs, shares), shares);
  add_column_sums(l, "drescale_sum", shares, false, m.images * m.pixels, static_cast<uint32_t>(m.channels), to_rescale);
  l.finish_staged(dx, to.place), l.finish_staged(dp, to_p.place), l.finish_staged(drescale, to_rescale.place);
}

}  // namespace cf::cuda
