#include "cuda/codegen/kernel_source.h"

#include <algorithm>
#include <numeric>

namespace cf::cuda {
namespace {

bool moving(const Window& w) {
  return std::any_of(w.loop_strides.begin(), w.loop_strides.end(), [](uint32_t s) { return s != 0; });
}

}  // namespace

std::string kernel_head(bool bf16) {
  return std::string("#include \"cuda/kernels/expr.h\"\n") + (bf16 ? "#include \"cuda/kernels/bf16.h\"\n" : "") + "using namespace cf;\nusing namespace cf::cuda;\n";
}

std::string literal(uint64_t v, const std::string& type) { return std::to_string(v) + (type == "unsigned" ? "u" : "ull"); }

Arguments::Arguments(std::vector<Window> inputs, std::vector<Window> outputs, bool counters) : inputs_(std::move(inputs)), outputs_(std::move(outputs)), moves_(counters) {
  for (size_t i = 0; i < count(); ++i) moves_ = moves_ || moving(at(i));
}

std::string Arguments::name(size_t i) const {
  return i < inputs_.size() ? "x" + std::to_string(i) : "y" + std::to_string(i - inputs_.size());
}

std::vector<std::array<uint32_t, kMaxRank>> Arguments::strides() const {
  std::vector<std::array<uint32_t, kMaxRank>> s;
  for (size_t i = 0; i < count(); ++i) s.push_back(at(i).strides);
  return s;
}

std::string Arguments::pointer(size_t i) const {
  const bool read = i < inputs_.size();
  return (read ? "const " : "") + (at(i).bf16 ? "Bf16" : read ? input_type : output_type) + "*";
}

bool Arguments::any_bf16() const {
  const auto is = [](const Window& w) { return w.bf16; };
  return std::any_of(inputs_.begin(), inputs_.end(), is) || std::any_of(outputs_.begin(), outputs_.end(), is);
}

std::string Arguments::struct_source() const {
  std::string text = "struct Args {\n";
  for (size_t i = 0; i < count(); ++i) text += "  " + pointer(i) + " " + name(i) + ";\n";
  if (moves_) text += "  const unsigned* loops;\n";
  return text + "};\n";
}

std::string Arguments::base_source() const {
  std::string text;
  for (size_t i = 0; i < count(); ++i) {
    text += "  " + pointer(i) + " const " + name(i) + " = a." + name(i);
    for (uint32_t level = 0; level < kMaxLoops; ++level)
      if (at(i).loop_strides[level] != 0) text += " + a.loops[" + std::to_string(level) + "] * " + std::to_string(at(i).loop_strides[level]) + "ull";
    text += ";\n";
  }
  return text;
}

Launch& Arguments::launch(Lowering& l, const std::string& name, std::string text, bool cooperates, std::array<uint32_t, 3> grid, uint32_t threads) const {
  Launch& out = l.add(Launch::Kind::kernel, name);
  out.kernel = l.list.kernel({std::move(text), cooperates});
  out.grid = grid, out.block = {threads, 1, 1};
  out.args.resize(8 * (count() + (moves_ ? 1 : 0)));
  for (size_t i = 0; i < inputs_.size(); ++i) reads(out, 8 * i, inputs_[i].place, inputs_[i].range);
  for (size_t j = 0; j < outputs_.size(); ++j) writes(out, 8 * (inputs_.size() + j), outputs_[j].place, outputs_[j].range);
  if (moves_) out.pointers.push_back({static_cast<uint32_t>(8 * count()), {Place::Kind::loops, 0, 0}});
  return out;
}

std::vector<uint32_t> memory_order(const Window& lead) {
  std::vector<uint32_t> order(lead.rank);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const uint32_t sa = lead.strides[a], sb = lead.strides[b];
    return sa == 0 || sb == 0 ? sa == 0 && sb != 0 : sa > sb;
  });
  return order;
}

std::string index_type(uint64_t elements, const std::vector<const Space*>& spaces) {
  // Half of what fits, because a grid-stride loop counts beyond its end.
  constexpr uint64_t kMost = 1u << 31;
  bool fits = elements < kMost;
  uint64_t last = 0;
  for (const Space* s : spaces) {
    uint64_t furthest = 0;
    for (const auto& strides : s->strides) {
      uint64_t offset = 0;
      for (uint32_t k = 0; k < s->rank; ++k) offset += (s->dims[k] - 1) * strides[k];
      furthest = std::max(furthest, offset);
    }
    last += furthest;
  }
  return fits && last < kMost ? "unsigned" : "unsigned long long";
}

bool vectorizable(const Arguments& operands, size_t count, const Space& space, const Space& beside) {
  const uint32_t last = space.rank - 1;
  bool any = false;
  for (size_t i = 0; i < count; ++i) {
    const auto& strides = space.strides[i];
    if (strides[last] == 0) continue;
    const Window& w = operands.at(i);
    bool aligned = strides[last] == 1 && w.place.offset % 16 == 0;
    for (uint32_t k = 0; k < last; ++k) aligned = aligned && strides[k] % 4 == 0;
    for (uint32_t k = 0; k < beside.rank; ++k) aligned = aligned && beside.strides[i][k] % 4 == 0;
    for (const uint32_t s : w.loop_strides) aligned = aligned && s % 4 == 0;
    if (!aligned) return false;
    any = true;
  }
  return any;
}

Space quartered(Space space) {
  const uint32_t last = space.rank - 1;
  space.dims[last] /= 4;
  for (auto& strides : space.strides) strides[last] *= 4;
  return space;
}

std::string offset_source(const Space& space, size_t i, const std::string& index, const std::string& type) {
  const auto& strides = space.strides[i];
  // Where the operand's steps continue each other, its offset is a multiple of the index.
  uint64_t expected = strides[space.rank - 1];
  bool flat = expected != 0;
  for (uint32_t k = space.rank; k-- > 0; expected *= space.dims[k]) flat = flat && strides[k] == expected;
  const auto times = [&](const std::string& a, uint64_t s) { return s == 1 ? a : a + " * " + literal(s, type); };
  if (flat) return times(index, strides[space.rank - 1]);
  std::string text;
  uint64_t inner = space.elements();
  for (uint32_t k = 0; k < space.rank; ++k) {
    inner /= space.dims[k];
    if (strides[k] == 0) continue;
    std::string at = inner == 1 ? index : index + " / " + literal(inner, type);
    if (k > 0) at += " % " + literal(space.dims[k], type);
    text += (text.empty() ? "" : " + ") + times(at, strides[k]);
  }
  return text.empty() ? "0" : text;
}

std::string evaluate_source(const std::string& name, const Arguments& operands, const Space& space, const std::vector<std::string>& offsets, int width,
                            const std::string& indent) {
  const size_t n = operands.inputs().size();
  static const char* const component[4] = {".x", ".y", ".z", ".w"};
  std::string text;
  std::vector<bool> wide(n);
  for (size_t i = 0; i < n; ++i) {
    wide[i] = width == 4 && space.strides[i][space.rank - 1] != 0;
    const std::string w = "w" + std::to_string(i), element = "x" + std::to_string(i) + "[" + offsets[i] + "]";
    const std::string four = operands.at(i).bf16 ? "load_four(&" : "*reinterpret_cast<const float4*>(&";
    text += indent + (wide[i] ? "const float4 " + w + " = " + four + element + ");\n" : "const float " + w + " = " + element + ";\n");
  }
  const std::string all = "[" + std::to_string(width) + "]";
  if (n > 0) {
    text += indent + "const float x" + all + "[" + std::to_string(n) + "] = {";
    for (int c = 0; c < width; ++c) {
      text += c ? ", {" : "{";
      for (size_t i = 0; i < n; ++i) text += (i ? ", w" : "w") + std::to_string(i) + (wide[i] ? component[c] : "");
      text += "}";
    }
    text += "};\n";
  }
  text += indent + "float y" + all + "[" + std::to_string(operands.outputs().size()) + "];\n";
  for (int c = 0; c < width; ++c) {
    const std::string at = "[" + std::to_string(c) + "]";
    text += indent + name + "(" + (n > 0 ? "x" + at : "nullptr") + ", y" + at + ");\n";
  }
  return text;
}

}  // namespace cf::cuda
