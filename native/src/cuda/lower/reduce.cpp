// Sums and maxima of an expression over some axes. One kernel does everything: `lanes` threads share a result's terms, and join what they have in a tree of
// shared memory. Where a few results have many terms, several blocks share them (parts), and a second launch joins those. All of it follows from shapes
// alone, so that reruns give the same bits. Sums are in float over short stretches, which are joined in double.
#include <algorithm>
#include <cstring>

#include "cuda/codegen/expr_source.h"
#include "cuda/codegen/kernel_source.h"

namespace cf::cuda {
namespace {

constexpr uint64_t kStretch = 64;       ///< additions in float before they go to double
constexpr uint64_t kBlocks = 512;       ///< blocks that a reduction is spread over, if it has that many terms
constexpr uint64_t kLaneTerms = 8;      ///< terms (of one or four elements) that a lane has at least before parts are made
constexpr uint64_t kMostParts = 1024;

uint64_t up_to_power(uint64_t n) {
  uint64_t p = 1;
  while (p < n) p *= 2;
  return p;
}
uint64_t down_to_power(uint64_t n) { return up_to_power(n / 2 + 1); }
uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

/// How results and their terms are spread over threads.
struct Plan {
  bool rows;       ///< terms are neighbours in memory: so are a result's lanes; else neighbouring threads have neighbouring results
  int width;       ///< elements that a thread reads at a time: of the terms (rows) or of the results
  uint64_t lanes, results, parts, chunk;  ///< threads of a result, results (of `width` elements each if not rows) of a block, blocks of a result, terms of a part
  uint32_t threads() const { return static_cast<uint32_t>(lanes * results); }
};

Plan plan_rows(uint64_t kept, uint64_t terms, int width) {
  Plan p{true, width, 1, 1, 1, 1};
  p.lanes = std::min<uint64_t>(kThreads, std::max(up_to_power(ceil_div(terms, 4)), std::min<uint64_t>(up_to_power(terms), 8)));
  p.results = std::max(std::min(up_to_power(kept), kThreads / p.lanes), ceil_div(32, p.lanes));
  return p;
}

Plan plan_columns(uint64_t kept, uint64_t terms, int width) {
  Plan p{false, width, 1, 1, 1, 1};
  const uint64_t spread = std::min(down_to_power(std::max<uint64_t>(1, kBlocks * kThreads / kept)), uint64_t{32});
  p.lanes = std::min(spread, down_to_power(std::max<uint64_t>(1, terms / 2)));
  p.results = std::min(up_to_power(kept), kThreads / p.lanes);
  p.lanes = std::max(p.lanes, std::min(kThreads / p.results, down_to_power(std::max<uint64_t>(1, terms / 4))));
  p.results = std::max(p.results, ceil_div(32, p.lanes));
  return p;
}

struct Kind {
  bool max;
  std::string total() const { return max ? "float" : "double"; }
  std::string identity() const { return max ? "op::constant(0xff800000u)" : "0"; }
  std::string join(const std::string& a, const std::string& b) const { return max ? "op::max(" + a + ", " + b + ")" : a + " + " + b; }
};

/// Joins lanes' totals: afterwards lane 0 has them all.
std::string tree_source(const Kind& kind, const Plan& p, int values) {
  if (p.lanes == 1) return "";
  const std::string n = std::to_string(p.threads()), step = p.rows ? "w" : "w * " + std::to_string(p.results) + "u";
  std::string text;
  for (int v = 0; v < values; ++v) text += "  shared[" + std::to_string(v) + " * " + n + " + threadIdx.x] = total[" + std::to_string(v) + "];\n";
  text += "  for (unsigned w = " + std::to_string(p.lanes / 2) + "u; w > 0u; w /= 2u) {\n    __syncthreads();\n    if (lane < w) {\n";
  for (int v = 0; v < values; ++v) {
    const std::string at = std::to_string(v) + " * " + n + " + threadIdx.x", mine = "total[" + std::to_string(v) + "]";
    text += "      " + mine + " = " + kind.join(mine, "shared[" + at + " + " + step + "]") + ";\n      shared[" + at + "] = " + mine + ";\n";
  }
  return text + "    }\n  }\n";
}

/// `lane` and `k`, the thread's result.
std::string thread_source(const Plan& p, const std::string& type) {
  const std::string lanes = std::to_string(p.lanes) + "u", results = std::to_string(p.results) + "u";
  return "  const " + type + " lane = threadIdx.x " + (p.rows ? "% " + lanes : "/ " + results) + ", k = blockIdx.x * " + literal(p.results, type) + " + threadIdx.x " +
         (p.rows ? "/ " + lanes : "% " + results) + ";\n";
}

std::string scaled(const std::string& total, uint32_t scale) {
  char bits[32];
  std::snprintf(bits, sizeof bits, "0x%08xu", scale);
  return "static_cast<float>(static_cast<double>(" + total + ") * static_cast<double>(op::constant(" + bits + ")))";
}

/// The second launch: parts [parts][kept] to results.
void add_join(Lowering& l, const Kind& kind, const Place& partials, uint64_t parts, const Space& kept, const Window& out, uint32_t scale) {
  const uint64_t results = kept.elements();
  Plan p{false, 1, parts >= 32 ? 32u : 1u, 1, 1, 1};
  p.results = std::max(std::min(up_to_power(results), kThreads / p.lanes), ceil_div(32, p.lanes));
  const std::string type = index_type(parts * results, {&kept});
  Window from;
  from.place = partials, from.range = Lowering::range(partials, parts * results * (kind.max ? 4 : 8));
  Arguments arguments({from}, {out});
  arguments.input_type = kind.total();
  std::string text = kernel_head() + arguments.struct_source() + "CF_KERNEL(const Args a) {\n";
  if (p.lanes > 1) text += "  __shared__ " + kind.total() + " shared[" + std::to_string(p.threads()) + "];\n";
  text += arguments.base_source() + thread_source(p, type) + "  " + kind.total() + " total[1] = {" + kind.identity() + "};\n";
  text += "  if (k < " + literal(results, type) + ")\n    for (" + type + " part = lane; part < " + literal(parts, type) + "; part += " + literal(p.lanes, type) +
          ")\n      total[0] = " + kind.join("total[0]", "x0[part * " + literal(results, type) + " + k]") + ";\n" + tree_source(kind, p, 1);
  text += "  if (lane == 0u && k < " + literal(results, type) + ") y0[" + offset_source(kept, kept.strides.size() - 1, "k", type) + "] = " + scaled("total[0]", scale) + ";\n}\n";
  arguments.launch(l, "reduce_join", text, p.lanes > 1, {static_cast<uint32_t>(ceil_div(results, p.results)), 1, 1}, p.threads());
}

/// Dimensions that a window walks through.
int moving(const Window& w) {
  int n = 0;
  for (uint32_t k = 0; k < w.rank; ++k) n += w.dims[k] > 1 && w.strides[k] > 0;
  return n;
}

}  // namespace

void lower_reduce(Lowering& l) {
  check_reduce(l.program, l.instr());
  const auto& attrs = l.instr().attrs;
  const Kind kind{attrs[0] == 1};
  const uint32_t axes = attrs[1], scale = attrs[2];
  const std::vector<Window> all = l.windows(l.instr().inputs);
  std::vector<uint32_t> used;
  const Expression e = without_unused(decode_expression(attrs.data() + 3, attrs.size() - 3, static_cast<uint32_t>(all.size()), 1, "reduce"), used);
  std::vector<Window> inputs;
  for (const uint32_t i : used) inputs.push_back(all[i]);
  const Window out = l.window(l.output(0));

  // The input that walks through most dimensions says which of them is innermost in memory.
  Window lead = all[0];
  for (const Window& w : inputs)
    if (moving(w) > moving(lead)) lead = w;
  std::vector<uint32_t> kept_order, away_order;
  bool rows = true;
  for (const uint32_t k : memory_order(lead)) {
    if (lead.dims[k] == 1) continue;
    rows = (axes >> k & 1) != 0;
    (rows ? away_order : kept_order).push_back(k);
  }
  Arguments arguments(inputs, {out});
  const Space kept = simplify(lead.dims.data(), arguments.strides(), kept_order);
  // The output stands still along what is reduced.
  std::vector<std::array<uint32_t, kMaxRank>> strides = arguments.strides();
  strides.back() = {};
  const Space away = simplify(lead.dims.data(), strides, away_order);

  const Space& across = rows ? away : kept;
  const int width = across.dims[across.rank - 1] % 4 == 0 && vectorizable(arguments, inputs.size(), across, rows ? kept : away) ? 4 : 1;
  const uint64_t results = rows ? kept.elements() : kept.elements() / width, terms = rows ? away.elements() / width : away.elements();
  Plan p = rows ? plan_rows(results, terms, width) : plan_columns(results, terms, width);
  const uint64_t blocks = ceil_div(results, p.results);
  p.parts = std::min({std::max<uint64_t>(1, kBlocks / blocks), std::max<uint64_t>(1, terms / (p.lanes * kLaneTerms)), kMostParts});
  p.chunk = ceil_div(terms, p.parts), p.parts = ceil_div(terms, p.chunk);
  const int values = rows ? 1 : width;

  Place partials{};
  const uint64_t partial_bytes = p.parts * kept.elements() * (kind.max ? 4 : 8);
  if (p.parts > 1) {
    partials = l.scratch(partial_bytes);
    Window to;
    to.place = partials, to.range = Lowering::range(partials, partial_bytes);
    arguments = Arguments(inputs, {to});
    arguments.output_type = kind.total();
  }
  const std::string type = index_type(std::max(results * p.lanes, p.parts * kept.elements() + terms), {&kept, &away});
  const auto number = [&](uint64_t v) { return literal(v, type); };
  const Space kept_units = !rows && width == 4 ? quartered(kept) : kept, away_units = rows && width == 4 ? quartered(away) : away;

  std::string text = kernel_head() + expression_source(e, "expression") + arguments.struct_source() + "CF_KERNEL(const Args a) {\n";
  if (p.lanes > 1) text += "  __shared__ " + kind.total() + " shared[" + std::to_string(p.threads() * static_cast<uint32_t>(values)) + "];\n";
  text += arguments.base_source() + thread_source(p, type);
  const auto array = [&](const std::string& of, const std::string& name) {
    std::string t = of + " " + name + "[" + std::to_string(values) + "] = {";
    for (int v = 0; v < values; ++v) t += (v ? ", " : "") + kind.identity();
    return t + "};\n";
  };
  text += "  " + array(kind.total(), "total") + "  if (k < " + number(results) + ") {\n";
  for (size_t i = 0; i < inputs.size(); ++i)
    text += "    const " + type + " b" + std::to_string(i) + " = " + offset_source(kept_units, i, "k", type) + ";\n";
  const std::string begin = p.parts > 1 ? "blockIdx.y * " + number(p.chunk) : "0u";
  text += "    " + type + " r = " + begin + " + lane;\n";
  text += "    const " + type + " end = " + (p.parts > 1 ? "min(" + begin + " + " + number(p.chunk) + ", " + number(terms) + ")" : number(terms)) + ";\n";
  const std::string step = number(p.lanes), stretch = number(p.lanes * kStretch);
  text += "    while (r < end) {\n      " + array("float", "sum") + "      const " + type + " stop = end - r < " + stretch + " ? end : r + " + stretch + ";\n";
  text += "      for (; r < stop; r += " + step + ") {\n";
  std::vector<std::string> offsets;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string n = std::to_string(i);
    text += "        const " + type + " o" + n + " = b" + n + " + " + offset_source(away_units, i, "r", type) + ";\n";
    offsets.push_back("o" + n);
  }
  text += evaluate_source("expression", arguments, rows ? away_units : kept_units, offsets, width, "        ");
  for (int v = 0; v < values; ++v) {
    const std::string s = "sum[" + std::to_string(v) + "]", y = "y[" + std::to_string(v) + "][0]";
    const std::string term = rows && width == 4 ? kind.join("(" + kind.join("y[0][0]", "y[1][0]") + ")", "(" + kind.join("y[2][0]", "y[3][0]") + ")") : y;
    text += "        " + s + " = " + kind.join(s, rows && width == 4 ? "(" + term + ")" : term) + ";\n";
  }
  text += "      }\n";
  for (int v = 0; v < values; ++v) {
    const std::string n = "[" + std::to_string(v) + "]";
    text += "      total" + n + " = " + kind.join("total" + n, kind.max ? "sum" + n : "static_cast<double>(sum" + n + ")") + ";\n";
  }
  text += "    }\n  }\n" + tree_source(kind, p, values);
  text += "  if (lane == 0u && k < " + number(results) + ") {\n";
  for (int v = 0; v < values; ++v) {
    const std::string total = "total[" + std::to_string(v) + "]", element = values == 1 ? "k" : "(k * 4u + " + std::to_string(v) + "u)";
    if (p.parts > 1) text += "    y0[blockIdx.y * " + number(kept.elements()) + " + " + element + "] = " + total + ";\n";
    else text += "    y0[" + offset_source(kept, inputs.size(), element, type) + "] = " + scaled(total, scale) + ";\n";
  }
  text += "  }\n}\n";
  arguments.launch(l, kind.max ? "max" : "sum", text, p.lanes > 1, {static_cast<uint32_t>(blocks), static_cast<uint32_t>(p.parts), 1}, p.threads());
  if (p.parts > 1) add_join(l, kind, partials, p.parts, kept, out, scale);
}

}  // namespace cf::cuda
