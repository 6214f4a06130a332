// Convolutions that don't go through Winograd's transforms: 1×1 ones are products, the others are cuDNN's with weights ordered [O, kh, kw, I].
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

Convolution convolution(const ConvShape& s, Convolution::Kind kind) {
  Convolution c{};
  c.kind = kind;
  const auto u = [](size_t v) { return static_cast<uint32_t>(v); };
  c.n = u(s.n), c.h = u(s.h), c.w = u(s.w), c.i = u(s.i), c.oh = u(s.oh), c.ow = u(s.ow), c.o = u(s.o), c.kh = u(s.kh), c.kw = u(s.kw);
  c.stride = u(s.stride), c.padding = u(s.padding);
  return c;
}

void add_convolution(Lowering& l, const Convolution& c, std::vector<Range> reads, const Range& write) {
  static const char* const names[] = {"conv", "conv_data_grad", "conv_weight_grad"};
  Launch& launch = l.add(Launch::Kind::convolution, names[static_cast<size_t>(c.kind)]);
  launch.convolution = c, launch.reads = std::move(reads), launch.writes = {write};
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
  const Place x = l.staged(*c.x);
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place weights = l.staged(*c.w), raw = raw_result(l, out);
    Matmul p = product(pixels, s.o, s.i, dense_operand(x, 0, pixels, s.i), turned(weights, s.o, s.i), raw);
    if (c.bias) p.has_bias = true, p.bias = l.staged(*c.bias);
    add_product(l, "conv", p, whole(x, in), whole(weights, w), whole(raw, out));
    return add_epilogue(l, raw, out, nullptr, c.own_inputs(), kConvAttrs);
  }
  const Place weights = l.scratch(4 * floats(w)), raw = raw_result(l, out);
  add_copy(l, "weights", channels_last(s, l.window(*c.w)), Lowering::dense(weights, w));
  Convolution v = convolution(s, Convolution::Kind::forward);
  v.x = x, v.weights = weights, v.y = raw;
  add_convolution(l, v, {whole(x, in), whole(weights, w)}, whole(raw, out));
  add_epilogue(l, raw, out, c.bias, c.own_inputs(), kConvAttrs);
}

void lower_conv_data_grad(Lowering& l) {
  const ConvOperands c = check_conv_data_grad(l.program, l.instr());
  const ConvShape& s = c.shape;
  check_epilogue(l.program, l.instr(), c.own_inputs(), kConvAttrs, {s.n, s.h, s.w, s.i}, c.pooled);
  if (c.winograd) return lower_winograd_data_grad(l, c);
  const std::vector<uint32_t> in = dims({s.n, s.h, s.w, s.i}), out = dims({s.n, s.oh, s.ow, s.o}), w = dims({s.o, s.kh, s.kw, s.i});
  const Place dy = l.staged(*c.dy);
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place weights = l.staged(*c.w), raw = raw_result(l, in);
    add_product(l, "conv_data_grad", product(pixels, s.i, s.o, dense_operand(dy, 0, pixels, s.o), dense_operand(weights, 0, s.o, s.i), raw), whole(dy, out), whole(weights, w), whole(raw, in));
    return add_epilogue(l, raw, in, nullptr, c.own_inputs(), kConvAttrs);
  }
  const Place weights = l.scratch(4 * floats(w)), raw = raw_result(l, in);
  add_copy(l, "weights", channels_last(s, l.window(*c.w)), Lowering::dense(weights, w));
  Convolution v = convolution(s, Convolution::Kind::data_grad);
  v.x = raw, v.weights = weights, v.y = dy;
  add_convolution(l, v, {whole(dy, out), whole(weights, w)}, whole(raw, in));
  add_epilogue(l, raw, in, nullptr, c.own_inputs(), kConvAttrs);
}

void lower_conv_weight_grad(Lowering& l) {
  const ConvOperands c = check_conv_weight_grad(l.program, l.instr());
  if (c.winograd) return lower_winograd_weight_grad(l, c);
  const ConvShape& s = c.shape;
  const std::vector<uint32_t> in = dims({s.n, s.h, s.w, s.i}), out = dims({s.n, s.oh, s.ow, s.o}), w = dims({s.o, s.kh, s.kw, s.i});
  const Place x = l.staged(*c.x), dy = l.staged(*c.dy);
  if (is_product(s)) {
    const size_t pixels = s.n * s.h * s.w;
    const Place dw = l.staged_result(*c.w);
    add_product(l, "conv_weight_grad", product(s.o, s.i, pixels, turned(dy, pixels, s.o), dense_operand(x, 0, pixels, s.i), dw), whole(dy, out), whole(x, in), whole(dw, w));
    return l.finish_staged(*c.w, dw);
  }
  const Place dw = l.scratch(4 * floats(w));
  Convolution v = convolution(s, Convolution::Kind::weight_grad);
  v.x = x, v.weights = dw, v.y = dy;
  add_convolution(l, v, {whole(x, in), whole(dy, out)}, whole(dw, w));
  add_copy(l, "weights", Lowering::dense(dw, w), channels_last(s, l.window(*c.w)));
}

}  // namespace cf::cuda
