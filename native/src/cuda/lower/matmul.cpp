// Matrix products, and what follows them.
#include <algorithm>

#include "cuda/codegen/expr_source.h"
#include "cuda/lowering.h"

namespace cf::cuda {
namespace {

bool overlap(const Range& a, const Range& b) { return a.kind == b.kind && a.buffer == b.buffer && a.begin < b.end && b.begin < a.end; }

/// [batch, rows, cols] of t as a product's operand: where it lies when its rows (or columns) don't overlap, else a dense copy.
Matmul::Operand factor(Lowering& l, const Product::Matrix& m, Range& range) {
  const Tensor& t = *m.tensor;
  const uint64_t batches = m.batch == 0 ? 1 : t.dims[0], rows = t.dims[1], cols = t.dims[2];
  range = l.range(t);
  if (!l.moves(t)) {
    if (m.col == 1 && m.row >= cols && m.row > 1) return {l.place(t), m.batch, m.row, 1};
    if (m.row == 1 && m.col >= rows && m.col > 1) return {l.place(t), m.batch, 1, m.col};
    if ((rows == 1 && m.col == 1) || (cols == 1 && m.row == 1)) return dense_operand(l.place(t), m.batch, rows, cols);
  }
  Window from = l.window(t);
  from.dims[0] = static_cast<uint32_t>(batches);
  const Place to = l.scratch(4 * batches * rows * cols);
  const Window dense = Lowering::dense(to, {from.dims[0], t.dims[1], t.dims[2]});
  add_copy(l, "stage", from, dense);
  range = dense.range;
  return dense_operand(to, m.batch == 0 ? 0 : rows * cols, rows, cols);
}

}  // namespace

Matmul::Operand dense_operand(const Place& p, uint64_t batch, uint64_t rows, uint64_t cols) {
  if (cols == 1) return {p, batch, 1, std::max<uint64_t>(rows, 2)};
  return {p, batch, cols, 1};
}

Place raw_result(Lowering& l, const std::vector<uint32_t>& dims) {
  uint64_t elements = 1;
  for (const uint32_t d : dims) elements *= d;
  const Tensor& out = l.output(0);
  bool free = !l.moves(out) && out.dense() && out.elements() == elements;
  for (size_t i = 0; free && i < l.instr().inputs.size(); ++i) free = !overlap(l.range(out), l.range(l.input(i)));
  return free ? l.place(out) : l.scratch(4 * elements);
}

void add_product(Lowering& l, const std::string& name, const Matmul& product, const Range& a, const Range& b, const Range& c) {
  Launch& launch = l.add(Launch::Kind::matmul, name);
  launch.matmul = product;
  launch.reads = {a, b};
  if (product.has_bias) launch.reads.push_back(Lowering::range(product.bias, 4 * uint64_t{product.n}));
  launch.writes = {c};
}

void add_epilogue(Lowering& l, const Place& raw, const std::vector<uint32_t>& dims, const Tensor* bias, size_t own_inputs, size_t own_attrs, bool bf16) {
  const Instr& instr = l.instr();
  const size_t further = instr.inputs.size() - own_inputs;
  const bool active = instr.attrs.size() > own_attrs;
  if (!active && !bias && raw.kind == Place::Kind::buffer) return;  // already where it belongs
  Expression e = active ? decode_expression(instr.attrs.data() + own_attrs, instr.attrs.size() - own_attrs, static_cast<uint32_t>(further + 1),
                                            static_cast<uint32_t>(instr.outputs.size()), "epilogue")
                        : identity_expression();
  std::vector<Window> inputs{Lowering::dense(raw, dims, bf16)};
  if (bias) {
    e = with_bias(e);
    Window along = l.window(*bias);
    const uint32_t rank = static_cast<uint32_t>(dims.size());
    along.rank = rank, along.strides = {}, along.strides[rank - 1] = 1;
    for (uint32_t k = 0; k < rank; ++k) along.dims[k] = dims[k];
    inputs.push_back(along);
  }
  for (size_t i = own_inputs; i < instr.inputs.size(); ++i) inputs.push_back(l.window(l.input(i)));
  add_map(l, "epilogue", e, inputs, l.windows(instr.outputs));
}

void lower_matmul(Lowering& l) {
  const Product p = check_matmul(l.program, l.instr());
  check_epilogue(l.program, l.instr(), p.own_inputs(), kMatmulAttrs, {p.batch, p.m, p.n});
  const bool active = l.instr().attrs.size() > kMatmulAttrs;
  Matmul product{};
  product.batch = static_cast<uint32_t>(p.batch), product.m = static_cast<uint32_t>(p.m), product.n = static_cast<uint32_t>(p.n), product.k = static_cast<uint32_t>(p.k);
  Range a, b;
  product.a = factor(l, p.a, a);
  product.b = factor(l, p.b, b);
  if (p.bias) product.has_bias = true, product.bias = l.staged(*p.bias);
  const std::vector<uint32_t> dims{product.batch, product.m, product.n};
  const Tensor& out = l.output(0);
  // Rows of a wider tensor can be written as they are.
  const uint64_t row = p.m == 1 ? p.n : out.strides[1], batch = p.batch == 1 ? 0 : out.strides[0];
  if (!active && !l.moves(out) && row >= p.n) {
    product.c = {l.place(out), batch, row, 1};
    return add_product(l, "matmul", product, a, b, l.range(out));
  }
  const Place raw = raw_result(l, dims);
  product.c = {raw, p.batch == 1 ? 0 : p.m * p.n, p.n, 1};
  add_product(l, "matmul", product, a, b, Lowering::range(raw, 4 * p.batch * p.m * p.n));
  add_epilogue(l, raw, dims, nullptr, p.own_inputs(), kMatmulAttrs);
}

}  // namespace cf::cuda
