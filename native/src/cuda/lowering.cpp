#include "cuda/lowering.h"

namespace cf::cuda {
namespace {

using Lower = void (*)(Lowering&);

Lower family(Op op) {
  switch (op) {
    case Op::map: return lower_map;
    case Op::reduce: return lower_reduce;
    case Op::matmul: return lower_matmul;
    case Op::conv: return lower_conv;
    case Op::conv_data_grad: return lower_conv_data_grad;
    case Op::conv_weight_grad: return lower_conv_weight_grad;
    case Op::winograd_weights: return lower_winograd_weights;
    case Op::random: return lower_random;
    case Op::layer_norm: return lower_layer_norm;
    case Op::layer_norm_grad: return lower_layer_norm_grad;
    case Op::attention: return lower_attention;
    case Op::attention_grad: return lower_attention_grad;
    case Op::mixture: return lower_mixture;
    case Op::mixture_grad: return lower_mixture_grad;
    case Op::mixture_inverse: return lower_mixture_inverse;
    case Op::matrix_inverse: return lower_matrix_inverse;
    case Op::log_abs_det: return lower_log_abs_det;
    case Op::repeat: break;  // a Node, not a launch
  }
  return nullptr;
}

/// Instructions [begin, end) as nodes: straight runs of launches, and loops.
std::vector<Node> nodes(Lowering& l, uint32_t begin, uint32_t end) {
  std::vector<Node> out;
  const auto straight = [&](uint32_t from) {
    const auto to = static_cast<uint32_t>(l.list.launches.size());
    if (from == to) return;
    Node n;
    n.begin = from, n.end = to;
    out.push_back(std::move(n));
  };
  auto from = static_cast<uint32_t>(l.list.launches.size());
  for (uint32_t i = begin; i < end; ++i) {
    const Instr& instr = l.program.instrs[i];
    if (instr.op != Op::repeat) {
      l.begin(instr, i);
      const Lower lower = family(instr.op);
      if (!lower) l.refuse("no kernel for this op");
      lower(l);
      continue;
    }
    straight(from);
    Node loop;
    loop.count = instr.attrs[0], loop.level = instr.attrs[1], loop.reversed = instr.attrs[3] != 0;
    const uint32_t body = instr.attrs[2];
    l.loops.push_back({loop.count, loop.level, loop.reversed});
    loop.body = nodes(l, i + 1, i + 1 + body);
    l.loops.pop_back();
    out.push_back(std::move(loop));
    i += body;
    from = static_cast<uint32_t>(l.list.launches.size());
  }
  straight(from);
  return out;
}

/// Moves all of a launch's scratch.
void move_scratch(Launch& l, uint64_t by) {
  const auto move = [by](Place& p) {
    if (p.kind == Place::Kind::scratch) p.offset += by;
  };
  for (auto* ranges : {&l.reads, &l.writes})
    for (Range& r : *ranges)
      if (r.kind == Place::Kind::scratch) r.begin += by, r.end += by;
  for (Launch::Pointer& p : l.pointers) move(p.place);
  for (Place* p : {&l.matmul.a.place, &l.matmul.b.place, &l.matmul.c.place, &l.matmul.bias, &l.convolution.x, &l.convolution.weights, &l.convolution.y}) move(*p);
}

uint64_t scratch_end(const Launch& l) {
  uint64_t end = 0;
  for (const auto* ranges : {&l.reads, &l.writes})
    for (const Range& r : *ranges)
      if (r.kind == Place::Kind::scratch) end = std::max(end, r.end);
  return end;
}

/// Instructions that use little scratch take turns in several places, so that they can run at the same time; so far each begins at 0.
void spread_scratch(LaunchList& list, uint64_t places) {
  constexpr uint64_t kLittle = 16u << 20;
  struct Use {
    size_t begin, end;
    uint64_t bytes;
  };
  std::vector<Use> uses;
  uint64_t much = 0, little = 0;
  for (size_t i = 0; i < list.launches.size();) {
    Use u{i, i, 0};
    for (; u.end < list.launches.size() && list.launches[u.end].instr == list.launches[i].instr; ++u.end) u.bytes = std::max(u.bytes, scratch_end(list.launches[u.end]));
    i = u.end;
    if (u.bytes == 0) continue;
    u.bytes = (u.bytes + 255) / 256 * 256;
    uses.push_back(u);
    uint64_t& most = u.bytes > kLittle ? much : little;
    most = std::max(most, u.bytes);
  }
  uint64_t turn = 0;
  for (const Use& u : uses) {
    if (u.bytes > kLittle) continue;
    const uint64_t by = much + turn++ % places * little;
    for (size_t i = u.begin; i < u.end; ++i) move_scratch(list.launches[i], by);
  }
  list.scratch_bytes = much + std::min(turn, places) * little;
}

}  // namespace

Place Lowering::scratch(uint64_t bytes) {
  const Place p{Place::Kind::scratch, 0, scratch_};
  scratch_ += (bytes + 255) / 256 * 256;
  list.scratch_bytes = std::max(list.scratch_bytes, scratch_);
  return p;
}

Range Lowering::range(const Tensor& t) const {
  uint64_t last = t.offset;
  for (uint32_t k = 0; k < t.rank; ++k) last += uint64_t{t.dims[k] - 1} * t.strides[k];
  for (const Loop& loop : loops) last += uint64_t{loop.count - 1} * t.loop_strides[loop.level];
  return {Place::Kind::buffer, t.buffer, 4 * t.offset, 4 * (last + 1)};
}

Window Lowering::window(const Tensor& t) const {
  Window w;
  w.place = place(t), w.rank = t.rank, w.dims = t.dims, w.strides = t.strides, w.range = range(t);
  // Outside of a loop its index is 0: strides of levels that do not enclose the instruction move nothing.
  for (const Loop& loop : loops) w.loop_strides[loop.level] = t.loop_strides[loop.level];
  return w;
}

std::vector<Window> Lowering::windows(const std::vector<uint32_t>& tensors) const {
  std::vector<Window> out;
  for (const uint32_t id : tensors) out.push_back(window(program.tensors[id]));
  return out;
}

Window Lowering::dense(const Place& p, const std::vector<uint32_t>& dims, bool bf16) {
  Window w;
  w.place = p, w.bf16 = bf16, w.rank = static_cast<uint32_t>(dims.size());
  uint64_t elements = 1;
  for (uint32_t k = w.rank; k-- > 0;) w.dims[k] = dims[k], w.strides[k] = static_cast<uint32_t>(elements), elements *= dims[k];
  w.range = range(p, (bf16 ? 2 : 4) * elements);
  return w;
}

bool Lowering::moves(const Tensor& t) const {
  for (const Loop& loop : loops)
    if (t.loop_strides[loop.level] != 0) return true;
  return false;
}

Place Lowering::staged(const Tensor& t, bool dense) {
  if (!moves(t) && (!dense || t.dense())) return place(t);
  const Place to = scratch(4 * t.elements());
  add_copy(*this, "stage", window(t), this->dense(to, {t.dims.begin(), t.dims.begin() + t.rank}));
  return to;
}

Place Lowering::staged_result(const Tensor& t, bool dense) {
  return !moves(t) && (!dense || t.dense()) ? place(t) : scratch(4 * t.elements());
}

void Lowering::finish_staged(const Tensor& t, const Place& from) {
  if (from.kind == Place::Kind::scratch) add_copy(*this, "unstage", this->dense(from, {t.dims.begin(), t.dims.begin() + t.rank}), window(t));
}

Launch& Lowering::add(Launch::Kind kind, const std::string& name) {
  Launch l;
  l.kind = kind, l.name = name, l.instr = index_;
  list.launches.push_back(std::move(l));
  return list.launches.back();
}

LaunchList lower(const Program& program, const Target& target) {
  LaunchList list;
  Lowering l(program, target, list);
  list.before_commit = nodes(l, 0, program.commit);
  list.commit = nodes(l, program.commit, static_cast<uint32_t>(program.instrs.size()));
  if (target.scratch_places > 1) spread_scratch(list, target.scratch_places);
  return list;
}

uint32_t LaunchList::kernel(Kernel k) {
  const auto found = known_.find(k.text);
  if (found != known_.end()) return found->second;
  const auto index = static_cast<uint32_t>(kernels.size());
  known_.emplace(k.text, index);
  kernels.push_back(std::move(k));
  return index;
}

}  // namespace cf::cuda
