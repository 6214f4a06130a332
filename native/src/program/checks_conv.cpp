#include <string>

#include "program/checks.h"

namespace cf {
namespace {

std::string list(const std::vector<size_t>& dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i ? ", " : "") + std::to_string(dims[i]);
  return s + "]";
}
std::vector<size_t> dims_of(const Tensor& t) { return Operands::dims_of(t); }

void check_dense(const Program& program, const Instr& instr, const Tensor& t, const char* name, const std::vector<size_t>& dims) {
  if (t.dtype != DType::f32 || dims_of(t) != dims || !t.dense())
    refuse(program, instr, std::string(name) + ": expected dense float32 " + list(dims) + ", found " + (t.dense() ? "" : "strided ") + list(dims_of(t)));
}

const Tensor& dense_input(const Program& program, const Instr& instr, size_t index, const char* name, const std::vector<size_t>& dims) {
  if (index >= instr.inputs.size()) refuse(program, instr, std::string(name) + ": missing");
  const Tensor& t = program.tensors[instr.inputs[index]];
  check_dense(program, instr, t, name, dims);
  return t;
}

const Tensor& sole_output(const Program& program, const Instr& instr) {
  if (instr.outputs.size() != 1) refuse(program, instr, "expected 1 output, found " + std::to_string(instr.outputs.size()));
  return program.tensors[instr.outputs[0]];
}

const Tensor& image(const Program& program, const Instr& instr, uint32_t id, const char* name) {
  const Tensor& t = program.tensors[id];
  if (t.rank != 4) refuse(program, instr, std::string(name) + ": expected rank 4, found " + std::to_string(t.rank));
  return t;
}

/// The first output, as large as it is before it is pooled.
Tensor whole_output(const Program& program, const Instr& instr) {
  Tensor t = image(program, instr, instr.outputs[0], "output");
  if (instr.attrs.size() > 7 && (instr.attrs[7] >> 8 & 1) != 0) t.dims[1] *= 2, t.dims[2] *= 2;
  return t;
}

/// Attribute words, and the dims of the images (x: input side, y: output side).
ConvOperands parse(const Program& program, const Instr& instr, const Tensor& x, const Tensor& y) {
  const auto& a = instr.attrs;
  if (a.size() < kConvWeightGradAttrs) refuse(program, instr, "expected at least 7 attribute words, found " + std::to_string(a.size()));
  ConvOperands r{};
  ConvShape& s = r.shape;
  s.stride = a[0], s.padding = a[1];
  r.winograd = a[2] == 1;
  s.o = a[3], s.i = a[4], s.kh = a[5], s.kw = a[6];
  const uint32_t flags = a.size() > 7 ? a[7] : 0;
  r.pooled = flags >> 8;
  if ((flags & 0xfe) != 0) refuse(program, instr, "flags: expected bit 0 (bias) and bits from 8 on (pooled outputs), found " + std::to_string(flags));
  if (r.pooled != 0 && !r.winograd) refuse(program, instr, "pooled outputs: expected the Winograd algorithm");
  s.n = x.dims[0], s.h = x.dims[1], s.w = x.dims[2], s.oh = y.dims[1], s.ow = y.dims[2];
  constexpr size_t kMost = 64;  // far beyond any kernel in use, and small enough that no sum below overflows
  if (s.stride < 1 || s.stride > kMost || s.padding > kMost || s.kh < 1 || s.kh > kMost || s.kw < 1 || s.kw > kMost || a[2] > 1)
    refuse(program, instr, "stride, padding, algorithm or kernel size out of range");
  if (x.elements() == 0 || y.elements() == 0 || s.o == 0 || s.i == 0) refuse(program, instr, "expected no dimension of size 0");
  const auto out = [&](size_t size, size_t k) { return size + 2 * s.padding < k ? 0 : (size + 2 * s.padding - k) / s.stride + 1; };
  const std::vector<size_t> expected{s.n, out(s.h, s.kh), out(s.w, s.kw), s.o};
  if (dims_of(y) != expected || x.dims[3] != s.i)
    refuse(program, instr, "output side: expected " + list(expected) + " for an input side of " + std::to_string(s.i) + " channels, found " + list(dims_of(y)) +
                               " for " + list(dims_of(x)));
  if (r.winograd && (s.stride != 1 || s.padding != 1 || s.kh != 3 || s.kw != 3))
    refuse(program, instr, "the Winograd algorithm is for 3×3 kernels of stride 1 and padding 1");
  return r;
}

bool has_bias(const Instr& instr) { return instr.attrs.size() > 7 && (instr.attrs[7] & 1) != 0; }

size_t transformed_size(const Tensor& u, size_t summed, size_t produced) {
  return has_room_for_parts(u, summed, produced) ? winograd_parts_size(summed, produced) : winograd_weights_size(summed, produced);
}

/// The second operand: weights as they are, or transformed.
const Tensor& weights(const Program& program, const Instr& instr, const ConvOperands& c, bool data_grad) {
  const ConvShape& s = c.shape;
  if (c.winograd) return dense_input(program, instr, 1, "U", {transformed_size(program.tensors[instr.inputs[1]], data_grad ? s.o : s.i, data_grad ? s.i : s.o)});
  return dense_input(program, instr, 1, "w", {s.o, s.i, s.kh, s.kw});
}

}  // namespace

ConvOperands check_conv(const Program& program, const Instr& instr) {
  if (instr.inputs.size() < 2 || instr.outputs.empty()) refuse(program, instr, "expected at least 2 inputs and 1 output");
  ConvOperands c = parse(program, instr, image(program, instr, instr.inputs[0], "x"), whole_output(program, instr));
  const ConvShape& s = c.shape;
  c.x = &dense_input(program, instr, 0, "x", {s.n, s.h, s.w, s.i});
  c.w = &weights(program, instr, c, false);
  if (has_bias(instr)) c.bias = &dense_input(program, instr, 2, "bias", {s.o});
  return c;
}

ConvOperands check_conv_data_grad(const Program& program, const Instr& instr) {
  if (instr.inputs.size() < 2 || instr.outputs.empty()) refuse(program, instr, "expected at least 2 inputs and 1 output");
  ConvOperands c = parse(program, instr, whole_output(program, instr), image(program, instr, instr.inputs[0], "dy"));
  const ConvShape& s = c.shape;
  if (has_bias(instr)) refuse(program, instr, "a gradient has no bias");
  c.dy = &dense_input(program, instr, 0, "dy", {s.n, s.oh, s.ow, s.o});
  c.w = &weights(program, instr, c, true);
  return c;
}

ConvOperands check_conv_weight_grad(const Program& program, const Instr& instr) {
  if (instr.inputs.size() != 2) refuse(program, instr, "expected 2 inputs, found " + std::to_string(instr.inputs.size()));
  ConvOperands c = parse(program, instr, image(program, instr, instr.inputs[0], "x"), image(program, instr, instr.inputs[1], "dy"));
  const ConvShape& s = c.shape;
  c.x = &dense_input(program, instr, 0, "x", {s.n, s.h, s.w, s.i});
  c.dy = &dense_input(program, instr, 1, "dy", {s.n, s.oh, s.ow, s.o});
  c.w = &sole_output(program, instr);
  check_dense(program, instr, *c.w, "output", {s.o, s.i, s.kh, s.kw});
  return c;
}

const Tensor& check_winograd_weights(const Program& program, const Instr& instr) {
  if (instr.inputs.size() != 1 || instr.attrs.size() != 1 || instr.attrs[0] > 1) refuse(program, instr, "expected 1 input and the attribute 0 or 1");
  const Tensor& w = image(program, instr, instr.inputs[0], "w");
  check_dense(program, instr, w, "w", {w.dims[0], w.dims[1], 3, 3});
  const bool data_grad = instr.attrs[0] == 1;
  const Tensor& u = sole_output(program, instr);
  check_dense(program, instr, u, "output", {transformed_size(u, w.dims[data_grad ? 0 : 1], w.dims[data_grad ? 1 : 0])});
  return w;
}

}  // namespace cf
