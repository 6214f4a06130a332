#include "program/checks.h"

#include <string>

#include "common/error.h"
#include "program/decode.h"
#include "program/expr.h"

namespace cf {
namespace {

std::string str(size_t v) { return std::to_string(v); }

}  // namespace

void refuse(const Program& program, const Instr& instr, const std::string& message) {
  const std::string layer = instr.name < program.names.size() ? program.names[instr.name] : std::string();
  throw Error(Code::invalid_program, op_name(instr.op), layer.empty() ? message : layer + ": " + message);
}

void check_map(const Program& p, const Instr& instr) {
  if (instr.inputs.size() > kMaxMapInputs) refuse(p, instr, "expected up to " + str(kMaxMapInputs) + " inputs, found " + str(instr.inputs.size()));
  if (instr.outputs.empty() || instr.outputs.size() > kMaxExprOutputs)
    refuse(p, instr, "expected 1 to " + str(kMaxExprOutputs) + " outputs, found " + str(instr.outputs.size()));
  const Tensor& first = p.tensors[instr.outputs[0]];
  for (const auto* ids : {&instr.inputs, &instr.outputs})
    for (const uint32_t id : *ids) {
      const Tensor& t = p.tensors[id];
      if (t.dtype != DType::f32) refuse(p, instr, "expected float32 operands");
      if (t.rank != first.rank || t.dims != first.dims) refuse(p, instr, "expected operands of one shape");
    }
}

void check_reduce(const Program& p, const Instr& instr) {
  if (instr.inputs.empty() || instr.inputs.size() > kMaxMapInputs || instr.outputs.size() != 1)
    refuse(p, instr, "expected 1 to 16 inputs and 1 output, found " + str(instr.inputs.size()) + " and " + str(instr.outputs.size()));
  if (instr.attrs.size() < 5) refuse(p, instr, "expected at least 5 attributes, found " + str(instr.attrs.size()));
  if (instr.attrs[0] > 1) refuse(p, instr, "expected kind 0 (sum) or 1 (max), found " + str(instr.attrs[0]));
  const Tensor &first = p.tensors[instr.inputs[0]], &out = p.tensors[instr.outputs[0]];
  const uint32_t axes = instr.attrs[1];
  if (axes >> first.rank) refuse(p, instr, "the axes " + str(axes) + " go beyond rank " + str(first.rank));
  for (const auto* ids : {&instr.inputs, &instr.outputs})
    for (const uint32_t id : *ids)
      if (p.tensors[id].dtype != DType::f32 || p.tensors[id].rank != first.rank) refuse(p, instr, "expected float32 operands of rank " + str(first.rank));
  for (uint32_t k = 0; k < first.rank; ++k) {
    for (const uint32_t id : instr.inputs)
      if (p.tensors[id].dims[k] != first.dims[k]) refuse(p, instr, "expected inputs of one shape");
    const uint32_t expected = axes >> k & 1 ? 1 : first.dims[k];
    if (out.dims[k] != expected) refuse(p, instr, "expected " + str(expected) + " in dimension " + str(k) + " of the output, found " + str(out.dims[k]));
  }
}

void check_random(const Program& p, const Instr& instr) {
  if (instr.inputs.size() != 1 || instr.outputs.size() != 1 || instr.attrs.size() != 3)
    refuse(p, instr, "expected 1 input, 1 output and 3 attributes, found " + str(instr.inputs.size()) + ", " + str(instr.outputs.size()) + " and " + str(instr.attrs.size()));
  const Tensor &key = p.tensors[instr.inputs[0]], &out = p.tensors[instr.outputs[0]];
  if (key.dtype != DType::u32 || key.rank != 1 || key.dims[0] != 4 || !key.dense()) refuse(p, instr, "expected a dense key of 4 uint32");
  if (out.dtype != DType::f32 || out.rank == 0 || !out.dense()) refuse(p, instr, "expected a dense float32 output of rank 1 or more");
  if (instr.attrs[0] > 1) refuse(p, instr, "expected kind 0 (uniform) or 1 (normal), found " + str(instr.attrs[0]));
  if (instr.attrs[2] > kMaxLoops) refuse(p, instr, "expected a loop level below " + str(kMaxLoops) + ", found " + str(instr.attrs[2]));
  if (out.elements() / out.dims[0] > uint64_t{UINT32_MAX} * 4) refuse(p, instr, "more draws in one sample than there are counters");
}

namespace {

Product::Matrix matrix(const Program& program, const Instr& instr, size_t index, const char* name) {
  const Tensor& t = program.tensors[instr.inputs[index]];
  if (t.rank != 3 || t.dtype != DType::f32 || t.elements() == 0) refuse(program, instr, std::string(name) + ": expected float32 of rank 3, not empty");
  // A dimension of size 1 may have any stride: take it as contiguous.
  Product::Matrix m{&t, t.dims[0] == 1 ? 0 : t.strides[0], t.strides[1], t.strides[2]};
  if (t.dims[2] == 1 && m.row != 1) m.col = 1;
  if (t.dims[1] == 1 && m.col != 1) m.row = 1;
  if (m.row != 1 && m.col != 1)
    refuse(program, instr, std::string(name) + ": expected one of the last two strides to be 1, found " + str(m.row) + " and " + str(m.col));
  return m;
}

}  // namespace

Product check_matmul(const Program& program, const Instr& instr) {
  if (instr.attrs.empty() || instr.attrs[0] > 1) refuse(program, instr, "expected the attribute 0 or 1");
  const bool has_bias = instr.attrs[0] == 1;
  if (instr.inputs.size() < (has_bias ? 3u : 2u)) refuse(program, instr, "expected at least " + str(has_bias ? 3 : 2) + " inputs");
  const Product::Matrix a = matrix(program, instr, 0, "A"), b = matrix(program, instr, 1, "B");
  const auto &da = a.tensor->dims, &db = b.tensor->dims;
  if (da[0] != db[0] || da[2] != db[1])
    refuse(program, instr, "expected A [b, m, k] and B [b, k, n], found [" + str(da[0]) + ", " + str(da[1]) + ", " + str(da[2]) + "] and [" + str(db[0]) + ", " +
                               str(db[1]) + ", " + str(db[2]) + "]");
  Product p{da[0], da[1], db[2], da[2], a, b, nullptr};
  if (has_bias) {
    p.bias = &program.tensors[instr.inputs[2]];
    if (p.bias->dtype != DType::f32 || p.bias->rank != 1 || p.bias->dims[0] != p.n || !p.bias->dense())
      refuse(program, instr, "bias: expected dense float32 [" + str(p.n) + "]");
  }
  return p;
}

bool check_epilogue(const Program& program, const Instr& instr, size_t own_inputs, size_t own_attrs, const std::vector<size_t>& dims, uint32_t pooled) {
  const bool active = instr.attrs.size() > own_attrs;
  if (!active && (instr.inputs.size() != own_inputs || instr.outputs.size() != 1))
    refuse(program, instr, "without an epilogue, expected " + str(own_inputs) + " inputs and 1 output, found " + str(instr.inputs.size()) + " and " +
                               str(instr.outputs.size()));
  const size_t further = instr.inputs.size() - own_inputs;
  if (further + 1 > kMaxMapInputs || instr.outputs.empty() || instr.outputs.size() > kMaxExprOutputs)
    refuse(program, instr, "epilogue: expected at most " + str(kMaxMapInputs - 1) + " further inputs and 1 to " + str(kMaxExprOutputs) + " outputs, found " +
                               str(further) + " and " + str(instr.outputs.size()));
  if (pooled != 0 && (!active || dims.size() != 4 || dims[1] % 2 != 0 || dims[2] % 2 != 0 || pooled >> instr.outputs.size() != 0))
    refuse(program, instr, "pooled outputs: expected an expression, images of even sides, and a bit per output");
  const auto check = [&](uint32_t id, const std::vector<size_t>& expected_dims, bool output) {
    const Tensor& t = program.tensors[id];
    const std::string what = output ? "output" : "epilogue operand";
    if (Operands::dims_of(t) != expected_dims || t.dtype != DType::f32) {
      std::string expected, found;
      for (const size_t d : expected_dims) expected += " " + str(d);
      for (uint32_t k = 0; k < t.rank; ++k) found += " " + str(t.dims[k]);
      refuse(program, instr, what + ": expected float32 of dims" + expected + ", found" + found);
    }
    const uint32_t last = t.rank - 1, channel = t.dims[last] == 1 ? 1 : t.strides[last];
    if (channel != 1 && (output || channel != 0)) refuse(program, instr, what + ": expected last stride 1, found " + str(channel));
  };
  for (size_t j = 0; j < instr.outputs.size(); ++j)
    check(instr.outputs[j], pooled >> j & 1 ? std::vector<size_t>{dims[0], dims[1] / 2, dims[2] / 2, dims[3]} : dims, true);
  for (size_t i = own_inputs; i < instr.inputs.size(); ++i) check(instr.inputs[i], dims, false);
  return active;
}

}  // namespace cf
