// Element-wise expressions and copies: one generated kernel each, dims and strides baked in.
#include <algorithm>

#include "cuda/codegen/expr_source.h"
#include "cuda/codegen/kernel_source.h"

namespace cf::cuda {
namespace {

constexpr uint64_t kTile = 32;          ///< rows and columns of a transpose's tile
constexpr uint64_t kShortest = 8;       ///< sides of a transpose that is worth a tile
constexpr uint64_t kNear = 2;           ///< a stride that still fills most of a memory transaction
constexpr size_t kMostTiles = 8;        ///< of 32·33 floats in shared memory

struct Map {
  Lowering& l;
  const std::string& name;
  const Arguments& operands;
  Space space;
  std::string head;  ///< the text before the kernel

  size_t inputs() const { return operands.inputs().size(); }
};

/// Statements for `width` elements of `space` at linear index `index`.
std::string element_source(const Map& m, const Space& space, const std::string& index, const std::string& type, int width, const std::string& indent) {
  std::string text;
  std::vector<std::string> offsets;
  for (size_t i = 0; i < m.operands.count(); ++i) {
    offsets.push_back("o" + std::to_string(i));
    text += indent + "const " + type + " o" + std::to_string(i) + " = " + offset_source(space, i, index, type) + ";\n";
  }
  text += evaluate_source("expression", m.operands, space, offsets, width, indent);
  for (size_t j = 0; j < m.operands.outputs().size(); ++j) {
    const std::string n = std::to_string(j), to = "y" + n + "[" + offsets[m.inputs() + j] + "]";
    if (width == 1) text += indent + to + " = y[0][" + n + "];\n";
    else {
      const std::string four = "y[0][" + n + "], y[1][" + n + "], y[2][" + n + "], y[3][" + n + "]);\n";
      text += indent + (m.operands.at(m.inputs() + j).bf16 ? "store_four(&" + to + ", " : "*reinterpret_cast<float4*>(&" + to + ") = make_float4(") + four;
    }
  }
  return text;
}

void add_straight(const Map& m) {
  const uint64_t elements = m.space.elements(), cols = m.space.dims[m.space.rank - 1];
  const bool wide = vectorizable(m.operands, m.operands.count(), m.space) && cols >= 4 && (cols % 4 == 0 || m.space.rank == 1);
  const uint64_t quads = wide ? elements / 4 : 0, units = quads + (elements - 4 * quads);
  const std::string type = index_type(elements, {&m.space});
  std::string text = m.head + "CF_KERNEL(const Args a) {\n" + m.operands.base_source();
  text += "  for (" + type + " u = blockIdx.x * " + literal(kThreads, type) + " + threadIdx.x; u < " + literal(units, type) + "; u += gridDim.x * " +
          literal(kThreads, type) + ") {\n";
  if (quads == units || quads == 0) {
    text += element_source(m, quads ? quartered(m.space) : m.space, "u", type, quads ? 4 : 1, "    ");
  } else {
    // The last few elements follow the groups of four, one a thread.
    text += "    if (u < " + literal(quads, type) + ") {\n" + element_source(m, quartered(m.space), "u", type, 4, "      ");
    text += "    } else {\n      const " + type + " e = u + " + literal(3 * quads, type) + ";\n" + element_source(m, m.space, "e", type, 1, "      ") + "    }\n";
  }
  text += "  }\n}\n";
  const uint64_t blocks = std::min<uint64_t>((units + kThreads - 1) / kThreads, uint64_t{m.l.target.multiprocessors} * kBlocksEach);
  m.operands.launch(m.l, m.name, text, false, {static_cast<uint32_t>(blocks), 1, 1}, kThreads);
}

/// Whether neighbours in memory lie along dimension `k` rather than along the innermost.
bool crosses(const Space& s, size_t operand, uint32_t k) {
  const auto& strides = s.strides[operand];
  return strides[k] > 0 && strides[k] <= kNear && strides[k] < strides[s.rank - 1];
}

/// The dimension that makes the most operands crossed, or the innermost when none is worth a tile.
uint32_t crossing(const Space& s) {
  const uint32_t last = s.rank - 1;
  uint32_t best = last;
  size_t most = 0;
  for (uint32_t k = 0; k < last; ++k) {
    if (s.dims[k] < kShortest || s.dims[last] < kShortest) continue;
    size_t n = 0;
    for (size_t i = 0; i < s.strides.size(); ++i) n += crosses(s, i, k);
    if (n > most && n <= kMostTiles) best = k, most = n;
  }
  return best;
}

/// Crossed operands go through tiles in shared memory: read or written along `row`, used along the innermost dimension.
void add_crossed(const Map& m, uint32_t row) {
  const Space& s = m.space;
  const uint32_t last = s.rank - 1;
  const uint64_t rows = s.dims[row], cols = s.dims[last], down = (rows + kTile - 1) / kTile, across = (cols + kTile - 1) / kTile;
  const std::string type = index_type(s.elements(), {&s});
  const auto number = [&](uint64_t v) { return literal(v, type); };
  std::vector<bool> crossed;
  for (size_t i = 0; i < m.operands.count(); ++i) crossed.push_back(crosses(s, i, row));

  // What is left beside rows and columns.
  Space outer = s;
  outer.dims[row] = outer.dims[last] = 1;
  for (auto& strides : outer.strides) strides[row] = strides[last] = 0;
  std::string text = m.head + "CF_KERNEL(const Args a) {\n";
  for (size_t i = 0; i < m.operands.count(); ++i)
    if (crossed[i]) text += "  __shared__ float t" + std::to_string(i) + "[32][33];\n";
  text += m.operands.base_source();
  text += "  const " + type + " tx = threadIdx.x % 32u, ty = threadIdx.x / 32u, tile = blockIdx.x;\n";
  text += "  const " + type + " c0 = tile % " + number(across) + " * 32u, r0 = tile / " + number(across) + " % " + number(down) + " * 32u, outer = tile / " +
          number(across * down) + ";\n";
  std::string bases;
  bool uses_outer = false;
  for (size_t i = 0; i < m.operands.count(); ++i) {
    const std::string base = offset_source(outer, i, "outer", type);
    uses_outer = uses_outer || base != "0";
    bases += "  const " + type + " b" + std::to_string(i) + " = " + base + ";\n";
  }
  text += uses_outer ? bases : "  (void)outer;\n" + bases;
  const auto at = [&](size_t i, const std::string& r, const std::string& c) {
    const std::string n = std::to_string(i);
    return "b" + n + " + (r0 + " + r + ") * " + number(s.strides[i][row]) + " + (c0 + " + c + ") * " + number(s.strides[i][last]);
  };
  const std::string loop = "  for (" + type + " k = ty; k < 32u; k += 8u)\n";
  const std::string along_rows = "    if (r0 + tx < " + number(rows) + " && c0 + k < " + number(cols) + ") ";
  const auto swap = [&](size_t from, size_t to, bool in) {
    for (size_t i = from; i < to; ++i)
      if (crossed[i]) {
        const std::string n = std::to_string(i), tile = "t" + n + "[k][tx]", memory = (in ? "x" + n : "y" + std::to_string(i - m.inputs())) + "[" + at(i, "tx", "k") + "]";
        text += loop + along_rows + (in ? tile + " = " + memory : memory + " = t" + n + "[k][tx]") + ";\n";
      }
  };
  swap(0, m.inputs(), true);
  text += "  __syncthreads();\n" + loop + "    if (r0 + k < " + number(rows) + " && c0 + tx < " + number(cols) + ") {\n";
  const size_t n = m.inputs();
  if (n > 0) {
    text += "      const float x[" + std::to_string(n) + "] = {";
    for (size_t i = 0; i < n; ++i)
      text += (i ? ", " : "") + (crossed[i] ? "t" + std::to_string(i) + "[tx][k]" : "x" + std::to_string(i) + "[" + at(i, "k", "tx") + "]");
    text += "};\n";
  }
  text += "      float y[" + std::to_string(m.operands.outputs().size()) + "];\n      expression(" + (n > 0 ? "x" : "nullptr") + ", y);\n";
  for (size_t j = 0; j < m.operands.outputs().size(); ++j) {
    const std::string i = std::to_string(n + j), to = crossed[n + j] ? "t" + i + "[tx][k]" : "y" + std::to_string(j) + "[" + at(n + j, "k", "tx") + "]";
    text += "      " + to + " = y[" + std::to_string(j) + "];\n";
  }
  text += "    }\n";
  if (std::any_of(crossed.begin() + static_cast<long>(n), crossed.end(), [](bool c) { return c; })) text += "  __syncthreads();\n";
  swap(n, m.operands.count(), false);
  text += "}\n";
  const uint64_t tiles = down * across * outer.elements();
  m.operands.launch(m.l, m.name, text, true, {static_cast<uint32_t>(tiles), 1, 1}, kThreads);
}

}  // namespace

void add_map(Lowering& l, const std::string& name, const Expression& e, const std::vector<Window>& inputs, const std::vector<Window>& outputs) {
  std::vector<uint32_t> kept;
  const Expression expression = without_unused(e, kept);
  std::vector<Window> used;
  for (const uint32_t i : kept) used.push_back(inputs[i]);
  const Arguments operands(used, outputs);
  // Outermost is where the first output takes its longest steps, whatever order the program names the dimensions in.
  const Space space = simplify(outputs[0].dims.data(), operands.strides(), memory_order(outputs[0]));
  const Map m{l, name, operands, space, kernel_head(operands.any_bf16()) + expression_source(expression, "expression") + operands.struct_source()};
  const uint32_t row = crossing(space);
  if (row != space.rank - 1) add_crossed(m, row);
  else add_straight(m);
}

void add_map(Lowering& l, const std::string& name, const uint32_t* words, size_t count, const std::vector<Window>& inputs, const std::vector<Window>& outputs) {
  add_map(l, name, decode_expression(words, count, static_cast<uint32_t>(inputs.size()), static_cast<uint32_t>(outputs.size()), name.c_str()), inputs, outputs);
}

void add_copy(Lowering& l, const std::string& name, const Window& from, const Window& to) { add_map(l, name, identity_expression(), {from}, {to}); }

void lower_map(Lowering& l) {
  check_map(l.program, l.instr());
  add_map(l, "map", l.instr().attrs.data(), l.instr().attrs.size(), l.windows(l.instr().inputs), l.windows(l.instr().outputs));
}

}  // namespace cf::cuda
