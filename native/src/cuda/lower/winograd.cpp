// Winograd convolutions: transform tiles, 36 matrix products, transform back with bias, epilogue and pooling.
#include "cuda/kernels/winograd.h"

#include <cstddef>

#include "cuda/codegen/expr_source.h"
#include "cuda/lower/dense.h"

namespace cf::cuda {
namespace {

/// Transformed tiles that exist at the same time: enough of them to fill any GPU, few enough to leave the memory to the program.
constexpr uint64_t kBytes = 256u << 20;

uint32_t padded(uint32_t channels) { return static_cast<uint32_t>(round_up(channels, 4)); }

WinogradTiles tiles_of(const ConvShape& s, size_t of) {
  const auto channels = static_cast<uint32_t>(of);
  WinogradTiles t{};
  t.h = static_cast<uint32_t>(s.h), t.w = static_cast<uint32_t>(s.w), t.channels = channels, t.padded = padded(channels);
  t.down = (t.h + 3) / 4, t.across = (t.w + 3) / 4, t.tiles = static_cast<uint32_t>(s.n) * t.down * t.across;
  return t;
}

void add_input(Lowering& l, const char* name, bool adjoint, const WinogradTiles& t, const Operand& x, const Operand& v) {
  WinogradInputArgs args{};
  args.t = t;
  const std::string text = std::string(adjoint ? "#define CF_ADJOINT 1\n" : "") + "#include \"cuda/kernels/winograd_input.h\"\n";
  Launch& launch = l.kernel(name, {text}, args, {blocks(uint64_t{t.slices} * t.slice_tiles * t.padded), 1, 1}, {kBlock, 1, 1});
  reads(launch, offsetof(WinogradInputArgs, x), x);
  writes(launch, offsetof(WinogradInputArgs, v), v);
}

/// c[b] = a[b]·b[b] with c dense: 36 products, of each slice.
void add_products(Lowering& l, uint32_t m, uint32_t n, uint32_t k, uint32_t slices, const Operand& a, const Matmul::Operand& left, const Operand& b,
                  const Matmul::Operand& right, const Operand& c) {
  Matmul p{};
  p.batch = 36 * slices, p.m = m, p.n = n, p.k = k, p.a = left, p.b = right, p.c = {c.place, uint64_t{m} * n, n, 1};
  add_product(l, "winograd_products", p, Lowering::range(a.place, a.bytes), Lowering::range(b.place, b.bytes), Lowering::range(c.place, c.bytes));
}

/// The operands of the expression behind a convolution; without one, the result itself is the only output.
struct Epilogue {
  std::string text;  ///< in front of the kernel
  std::vector<const Tensor*> inputs, outputs;
  std::vector<Operand> from, to;

  Epilogue(Lowering& l, const ConvOperands& c) {
    const Instr& instr = l.instr();
    for (size_t i = c.own_inputs(); i < instr.inputs.size(); ++i) inputs.push_back(&l.input(i));
    for (size_t j = 0; j < instr.outputs.size(); ++j) outputs.push_back(&l.output(j));
    const bool active = instr.attrs.size() > kConvAttrs;
    const Expression e = active ? decode_expression(instr.attrs.data() + kConvAttrs, instr.attrs.size() - kConvAttrs, static_cast<uint32_t>(1 + inputs.size()),
                                                    static_cast<uint32_t>(outputs.size()), "epilogue")
                                : identity_expression();
    for (const Tensor* t : inputs) from.push_back({l.staged(*t, false), span(l, *t)});
    for (const Tensor* t : outputs) to.push_back({l.staged_result(*t, false), span(l, *t)});
    text = "#define CF_INPUTS " + std::to_string(inputs.size()) + "\n#define CF_OUTPUTS " + std::to_string(outputs.size()) + "\n#define CF_POOLED " +
           std::to_string(c.pooled) + "u\n#include \"cuda/kernels/expr.h\"\nnamespace cf::cuda {\n" + expression_source(e, "epilogue") +
           "}\n#include \"cuda/kernels/winograd_output.h\"\n";
  }
  void finish(Lowering& l) const {
    for (size_t j = 0; j < outputs.size(); ++j) l.finish_staged(*outputs[j], to[j].place);
  }

  static WinogradWindow window(const Tensor& t, const Operand& o) {
    // A copy in scratch is dense.
    std::array<uint32_t, 4> strides{t.strides[0], t.strides[1], t.strides[2], t.strides[3]};
    if (o.place.kind == Place::Kind::scratch) strides = {t.dims[1] * t.dims[2] * t.dims[3], t.dims[2] * t.dims[3], t.dims[3], 1};
    return {nullptr, strides[0], strides[1], strides[2], strides[3]};
  }

 private:
  static uint64_t span(const Lowering& l, const Tensor& t) {
    if (l.moves(t)) return 4 * t.elements();
    const Range r = l.range(t);
    return r.end - r.begin;
  }
};

/// x: the images that are transformed, with `from` channels; the result has `channels`.
void add_conv(Lowering& l, const ConvOperands& c, const Tensor& x, size_t from, size_t channels) {
  const ConvShape& s = c.shape;
  const Operand xs = source(l, x), us = source(l, *c.w), bs = c.bias ? source(l, *c.bias) : Operand{};
  const Epilogue epilogue(l, c);
  WinogradTiles in = tiles_of(s, from), out = tiles_of(s, channels);
  const uint64_t each = 144 * uint64_t{in.padded + out.padded};
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(in.tiles, std::max<uint64_t>(1, kBytes / each)));
  const Operand v = temporary(l, 144 * uint64_t{most} * in.padded), m = temporary(l, 144 * uint64_t{most} * out.padded);
  const uint64_t b_row = round_up(channels, 32);
  for (uint32_t first = 0; first < in.tiles; first += most) {
    const uint32_t count = std::min(most, in.tiles - first);
    in.first = out.first = first, in.slices = out.slices = 1, in.slice_tiles = out.slice_tiles = count;
    add_input(l, "winograd_input", false, in, xs, v);
    add_products(l, count, out.padded, in.padded, 1, v, {v.place, uint64_t{count} * in.padded, in.padded, 1}, us, {us.place, round_up(from, 16) * b_row, b_row, 1}, m);
    WinogradOutputArgs args{};
    args.t = out;
    for (size_t i = 0; i < epilogue.from.size(); ++i) args.inputs[i] = Epilogue::window(*epilogue.inputs[i], epilogue.from[i]);
    for (size_t j = 0; j < epilogue.to.size(); ++j) args.outputs[j] = Epilogue::window(*epilogue.outputs[j], epilogue.to[j]);
    Launch& launch = l.kernel("winograd_output", {epilogue.text}, args, {blocks(uint64_t{count} * out.channels), 1, 1}, {kBlock, 1, 1});
    reads(launch, offsetof(WinogradOutputArgs, m), m);
    if (c.bias) reads(launch, offsetof(WinogradOutputArgs, bias), bs);
    const auto at = [](size_t base, size_t k) { return base + k * sizeof(WinogradWindow) + offsetof(WinogradWindow, data); };
    for (size_t i = 0; i < epilogue.from.size(); ++i) reads(launch, at(offsetof(WinogradOutputArgs, inputs), i), epilogue.from[i]);
    for (size_t j = 0; j < epilogue.to.size(); ++j) writes(launch, at(offsetof(WinogradOutputArgs, outputs), j), epilogue.to[j]);
  }
  epilogue.finish(l);
}

}  // namespace

void lower_winograd_weights(Lowering& l) {
  const Tensor &w = check_winograd_weights(l.program, l.instr()), &u = l.output(0);
  const bool data_grad = l.instr().attrs[0] == 1;
  const uint32_t out = w.dims[0], in = w.dims[1];
  WinogradWeightsArgs args{};
  args.summed = data_grad ? out : in, args.produced = data_grad ? in : out;
  args.a = static_cast<uint32_t>(round_up(args.summed, 16)), args.b = static_cast<uint32_t>(round_up(args.produced, 32));
  args.summed_stride = data_grad ? 9 * in : 9, args.produced_stride = data_grad ? 9 : 9 * in, args.turned = data_grad;
  const Operand from = source(l, w), to = result(l, u);
  Launch& launch = l.kernel("winograd_weights", {"#include \"cuda/kernels/winograd_weights.h\"\n"}, args, {args.b / 32, args.a / 8, 1}, {32, 8, 1});
  reads(launch, offsetof(WinogradWeightsArgs, w), from);
  writes(launch, offsetof(WinogradWeightsArgs, u), to);
  l.finish_staged(u, to.place);
}

void lower_winograd_conv(Lowering& l, const ConvOperands& c) { add_conv(l, c, *c.x, c.shape.i, c.shape.o); }
void lower_winograd_data_grad(Lowering& l, const ConvOperands& c) { add_conv(l, c, *c.dy, c.shape.o, c.shape.i); }

void lower_winograd_weight_grad(Lowering& l, const ConvOperands& c) {
  const ConvShape& s = c.shape;
  const Tensor& dw = *c.w;
  const Operand xs = source(l, *c.x), ys = source(l, *c.dy), to = result(l, dw);
  WinogradTiles in = tiles_of(s, s.i), out = tiles_of(s, s.o);
  const uint64_t most = std::max<uint64_t>(1, kBytes / (144 * uint64_t{in.padded + out.padded}));
  // Few channels give few blocks of products: then the tiles are cut into slices with a product each, which are added at the end.
  const uint64_t parts = 36 * ceil_div(s.o, 128) * ceil_div(s.i, 128);
  const uint64_t wanted = std::min(ceil_div(2 * l.target.multiprocessors, parts), std::max<uint64_t>(1, in.tiles / 256));
  const auto slice = static_cast<uint32_t>(std::min(ceil_div(in.tiles, wanted), most));
  const auto slices = static_cast<uint32_t>(ceil_div(in.tiles, slice)), together = static_cast<uint32_t>(std::min<uint64_t>(slices, std::max<uint64_t>(1, most / slice)));
  in.slice_tiles = out.slice_tiles = slice;
  const uint64_t product = 36 * uint64_t{s.o} * in.padded;
  const Operand v = temporary(l, 144 * uint64_t{together} * slice * in.padded), z = temporary(l, 144 * uint64_t{together} * slice * out.padded);
  const Operand m = temporary(l, 4 * slices * product);
  for (uint32_t first = 0; first < slices; first += together) {
    in.first = out.first = first * slice, in.slices = out.slices = std::min(together, slices - first);
    add_input(l, "winograd_input", false, in, xs, v);
    add_input(l, "winograd_output_adjoint", true, out, ys, z);
    Operand own = m.from(4 * first * product);
    own.bytes = 4 * in.slices * product;
    add_products(l, out.channels, in.padded, slice, in.slices, z, {z.place, uint64_t{slice} * out.padded, 1, out.padded}, v,
                 {v.place, uint64_t{slice} * in.padded, in.padded, 1}, own);
  }
  WinogradBackArgs args{};
  args.slices = slices, args.o = out.channels, args.i = in.channels, args.row = in.padded;
  Launch& launch = l.kernel("winograd_weights_adjoint", {"#include \"cuda/kernels/winograd_back.h\"\n"}, args, {blocks(uint64_t{s.o} * s.i), 1, 1}, {kBlock, 1, 1});
  reads(launch, offsetof(WinogradBackArgs, m), m);
  writes(launch, offsetof(WinogradBackArgs, dw), to);
  l.finish_staged(dw, to.place);
}

}  // namespace cf::cuda
