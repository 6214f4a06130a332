// Convolutions that don't go through Winograd's transforms: 1×1 ones are products, those of few input channels have kernels of their own, the others are cuDNN's
// with weights ordered [O, kh, kw, I].
// In bfloat16 precision cuDNN gets operands that were rounded to it, and gives results rounded to it; the sums are float32.
#include <utility>

#include "cuda/lowering.h"

namespace cf::cuda {
namespace {

bool is_product(const ConvShape& s) { return s.kh == 1 && s.kw == 1 && s.stride == 1 && s.padding == 0; }

std::vector<uint32_t> dims(std::initializer_list<size_t> sizes) { return {sizes.begin(), sizes.end()}; }

uint64_t floats(const std::vector<uint32_t>& dims) {
  uint64_t n = 1;
  for (const uint32_t d : dims) n *= d;
  return n;
}

Range whole(const Place& p, const std::vector<uint32_t>& d) { return Lowering::range(p, 4 * floats(d)); }

/// Weights [O, I, kh, kw] at `place`, seen as [O, kh, kw, I].
Window channels_last(const ConvShape& s, Window w) {
  w.dims = {static_cast<uint32_t>(s.o), static_cast<uint32_t>(s.kh), static_cast<uint32_t>(s.kw), static_cast<uint32_t>(s.i)};
  const auto taps = static_cast<uint32_t>(s.taps()), i = static_cast<uint32_t>(s.i);
  w.strides = {i * taps, static_cast<uint32_t>(s.kw), 1, taps};
  return w;
}

/// Whether a convolution's operands are rounded to bfloat16: tensor cores take channels in groups of 16 bytes. The few others (images have 3 channels) run in TF32.
bool rounds(const Lowering& l, const ConvShape& s) { return l.target.precision == Precision::bf16 && s.i % 8 == 0 && s.o % 8 == 0; }

/// A dense operand of one of cuDNN's convolutions.
struct Dense {
  Place place;
  std::vector<uint32_t> dims;
  bool bf16;

  Window window() const { return Lowering::dense(place, dims, bf16); }
  Range range() const { return window().range; }
};

Dense temporary(Lowering& l, const std::vector<uint32_t>& dims, bool bf16) { return {l.scratch((bf16 ? 2 : 4) * floats(dims)), dims, bf16}; }

/// Images where they lie, or rounded.
Dense images(Lowering& l, const Tensor& t, const std::vector<uint32_t>& dims, bool bf16) {
  if (!bf16) return {l.staged(t), dims, false};
  const Dense rounded = temporary(l, dims, true);
  add_copy(l, "round", l.window(t), rounded.window());
  return rounded;
}

/// Whether `t` can be read 16 bytes at a time where `staged` says that it is.
bool staged_aligned(const Lowering& l, const Tensor& t) { return l.moves(t) || !t.dense() || t.offset % 4 == 0; }

/// Weights in the order that cuDNN wants.
Dense reordered(Lowering& l, const ConvShape& s, const Tensor& w, const std::vector<uint32_t>& dims, bool bf16) {
  const Dense out = temporary(l, dims, bf16);
  add_copy(l, "weights", channels_last(s, l.window(w)), out.window());
  return out;
}

/// Where the convolution's own result goes.
Dense raw(Lowering& l, const std::vector<uint32_t>& dims, bool bf16) {
  if (bf16) return temporary(l, dims, true);
  return {raw_result(l, dims), dims, false};
}

Convolution convolution(const ConvShape& s, Convolution::Kind kind, const Dense& x, const Dense& weights, const Dense& y) {
  Convolution c{};
  c.kind = kind, c.bf16 = x.bf16, c.x = x.place, c.weights = weights.place, c.y = y.place;
  const auto u = [](size_t v) { return static_cast<uint32_t>(v); };
  c.n = u(s.n), c.h = u(s.h), c.w = u(s.w), c.i = u(s.i), c.oh = u(s.oh), c.ow = u(s.ow), c.o = u(s.o), c.kh = u(s.kh), c.kw = u(s.kw);
  c.stride = u(s.stride), c.padding = u(s.padding);
  return c;
}

void add_convolution(Lowering& l, const ConvShape& s, Convolution::Kind kind, const Dense& x, const Dense& weights, const Dense& y) {
  static const char* const names[] = {"conv", "conv_data_grad", "conv_weight_grad"};
  Launch& launch = l.add(Launch::Kind::convolution, names[static_cast<size_t>(kind)]);
  launch.convolution = convolution(s, kind, x, weights, y);
  for (const Dense* d : {&x, &weights, &y}) {
    const bool written = d == (kind == Convolution::Kind::forward ? &y : kind == Convolution::Kind::data_grad ? &x : &weights);
    (written ? launch.writes : launch.reads).push_back(d->range());
  }
}

/// A product without a batch: [m, k]·[k, n].
Matmul product(size_t m, size_t n, size_t k, const Matmul::Operand& a, const Matmul::Operand& b, const Place& c) {
  Matmul p{};
  p.batch = 1, p.m = static_cast<uint32_t>(m), p.n = static_cast<uint32_t>(n), p.k = static_cast<uint32_t>(k);
  p.a = a, p.b = b, p.c = {c, 0, n, 1};
  return p;
}
/// The transpose of [rows, cols] without gaps.
Matmul::Operand turned(const Place& p, size_t rows, size_t cols) {
  Matmul::Operand o = dense_operand(p, 0, rows, cols);
  std::swap(o.row_stride, o.column_stride);
  return o;
}

}  // namespace

void lower_conv(Lowering& l) {
  const ConvOperands c = check_conv(l.program, l.instr());
  const ConvShape& s = c.shape;
  check_epilogue(l.program, l.instr(), c.own_inputs(), kConvAttrs, {s.n, s.oh, s.ow, s.o}, c.pooled);
  if (c.winograd) return lower_winograd_conv(l, c);
  const std::vector<uint32_t> in = dims({s.n, s.h, s.w, s.i}), out = dims({s.n, s.oh, s.ow, s.o}), w = dims({s.o, s.kh, s.kw, s.i});
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place x = l.staged(*c.x), weights = l.staged(*c.w), raw = raw_result(l, out);
    Matmul p = product(pixels, s.o, s.i, dense_operand(x, 0, pixels, s.i), turned(weights, s.o, s.i), raw);
    if (c.bias) p.has_bias = true, p.bias = l.staged(*c.bias);
    add_product(l, "conv", p, whole(x, in), whole(weights, w), whole(raw, out));
    return add_epilogue(l, raw, out, nullptr, c.own_inputs(), kConvAttrs);
  }
  if (few_channels(s)) {
    const Place x = l.staged(*c.x), weights = l.staged(*c.w), raw = raw_result(l, out);
    add_few_channels(l, s, x, weights, raw);
    return add_epilogue(l, raw, out, c.bias, c.own_inputs(), kConvAttrs);
  }
  const bool bf16 = rounds(l, s);
  const Dense x = images(l, *c.x, in, bf16), weights = reordered(l, s, *c.w, w, bf16), y = raw(l, out, bf16);
  add_convolution(l, s, Convolution::Kind::forward, x, weights, y);
  add_epilogue(l, y.place, out, c.bias, c.own_inputs(), kConvAttrs, bf16);
}

void lower_conv_data_grad(Lowering& l) {
  const ConvOperands c = check_conv_data_grad(l.program, l.instr());
  const ConvShape& s = c.shape;
  check_epilogue(l.program, l.instr(), c.own_inputs(), kConvAttrs, {s.n, s.h, s.w, s.i}, c.pooled);
  if (c.winograd) return lower_winograd_data_grad(l, c);
  const std::vector<uint32_t> in = dims({s.n, s.h, s.w, s.i}), out = dims({s.n, s.oh, s.ow, s.o}), w = dims({s.o, s.kh, s.kw, s.i});
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place dy = l.staged(*c.dy), weights = l.staged(*c.w), raw = raw_result(l, in);
    add_product(l, "conv_data_grad", product(pixels, s.i, s.o, dense_operand(dy, 0, pixels, s.o), dense_operand(weights, 0, s.o, s.i), raw), whole(dy, out), whole(weights, w), whole(raw, in));
    return add_epilogue(l, raw, in, nullptr, c.own_inputs(), kConvAttrs);
  }
  if (few_channels_data_grad(s) && staged_aligned(l, *c.dy)) {
    const Place dy = l.staged(*c.dy), weights = l.staged(*c.w), raw = raw_result(l, in);
    add_few_channels_data_grad(l, s, dy, weights, raw);
    return add_epilogue(l, raw, in, nullptr, c.own_inputs(), kConvAttrs);
  }
  const bool bf16 = rounds(l, s);
  const Dense dy = images(l, *c.dy, out, bf16), weights = reordered(l, s, *c.w, w, bf16), dx = raw(l, in, bf16);
  add_convolution(l, s, Convolution::Kind::data_grad, dx, weights, dy);
  add_epilogue(l, dx.place, in, nullptr, c.own_inputs(), kConvAttrs, bf16);
}

void lower_conv_weight_grad(Lowering& l) {
  const ConvOperands c = check_conv_weight_grad(l.program, l.instr());
  if (c.winograd) return lower_winograd_weight_grad(l, c);
  const ConvShape& s = c.shape;
  const std::vector<uint32_t> in = dims({s.n, s.h, s.w, s.i}), out = dims({s.n, s.oh, s.ow, s.o}), w = dims({s.o, s.kh, s.kw, s.i});
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place x = l.staged(*c.x), dy = l.staged(*c.dy), dw = l.staged_result(*c.w);
    add_product(l, "conv_weight_grad", product(s.o, s.i, pixels, turned(dy, pixels, s.o), dense_operand(x, 0, pixels, s.i), dw), whole(dy, out), whole(x, in), whole(dw, w));
    return l.finish_staged(*c.w, dw);
  }
  const bool bf16 = rounds(l, s);
  const Dense x = images(l, *c.x, in, bf16), dy = images(l, *c.dy, out, bf16), dw = temporary(l, w, bf16);
  add_convolution(l, s, Convolution::Kind::weight_grad, x, dw, dy);
  add_copy(l, "weights", dw.window(), channels_last(s, l.window(*c.w)));
}

}  // namespace cf::cuda
