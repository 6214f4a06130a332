// Checks a reduction's operands and chooses its plan.
#include <algorithm>
#include <cstring>

#include "cpu/ops/expr_cost.h"
#include "cpu/ops/reduce.h"
#include "program/checks.h"

namespace cf::cpu {

constexpr double kParallelNs = 6000;  ///< below this two threads' meeting costs more than they save

Reduce::Reduce(const Program& p, const Instr& instr, const Device& device) : threads_(device.threads) {
  check(p, instr);
  expr_run_ = CF_PICK(device.isa, expr_run);
  copy_ = CF_PICK(device.isa, copy_2d);
  r_ = instr.attrs[0] ? CF_PICK(device.isa, max_reduction)() : CF_PICK(device.isa, sum_reduction)();
  std::memcpy(&scale_, &instr.attrs[2], 4);
  expr_ = parse_expr(instr.attrs.data() + 3, instr.attrs.size() - 3, inputs_, 1, "reduce");
  plain_ = expr_.steps.empty() && expr_.results[0].value < inputs_;
  plan(instr.attrs[1]);
  expr_floats_ = (expr_scratch_floats(expr_) + 15) / 16 * 16;
  const double ns = expr_cost(expr_, inputs_) * static_cast<double>(elements_);
  if (ns < kParallelNs) threads_ = 1;
  threads_ = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(threads_), units()));
  price_ = {call_cost(inputs_ + 1, ns), threads_ == 1};
}

void Reduce::check(const Program& p, const Instr& instr) {
  check_reduce(p, instr);
  inputs_ = static_cast<uint32_t>(instr.inputs.size());
  for (uint32_t id : instr.inputs) tensors_.push_back(p.tensors[id]);
  tensors_.push_back(p.tensors[instr.outputs[0]]);
  elements_ = tensors_.front().elements();
}

void Reduce::plan(uint32_t axes) {
  // The input that walks through most dimensions says which of them is innermost in memory.
  const Tensor* lead = &tensors_[0];
  const auto moving = [](const Tensor& t) {
    int n = 0;
    for (uint32_t k = 0; k < t.rank; ++k) n += t.dims[k] > 1 && t.strides[k] > 0;
    return n;
  };
  for (uint32_t i = 1; i < inputs_; ++i)
    if (moving(tensors_[i]) > moving(*lead)) lead = &tensors_[i];
  std::vector<uint32_t> order;
  uint64_t kept_elements = 1;
  for (uint32_t k = 0; k < lead->rank; ++k) {
    if (lead->dims[k] == 1) continue;
    order.push_back(k);
    if (!(axes >> k & 1)) kept_elements *= lead->dims[k];
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const uint32_t sa = lead->strides[a], sb = lead->strides[b];
    return sa == 0 || sb == 0 ? sa == 0 && sb != 0 : sa > sb;
  });
  const auto reduced = [&](uint32_t k) { return (axes >> k & 1) != 0; };
  std::vector<uint32_t> kept, away;
  for (uint32_t k : order) (reduced(k) ? away : kept).push_back(k);
  const uint64_t away_elements = elements_ / kept_elements;

  if (order.empty() || reduced(order.back())) {
    plan_ = Plan::rows;
    build(kept, away, {});
    per_kept_ = nest_.rows / kept_elements;
    uint64_t dense = 1;
    for (uint32_t k = nest_.rank; k-- > 0;) {
      const uint64_t stride = nest_.operands[inputs_].strides[k];
      if (stride == 0) continue;
      packed_ = packed_ && stride == dense;
      dense *= nest_.dims[k];
    }
    height_ = std::max<uint64_t>(1, kBlock / nest_.cols);
    width_ = std::min(nest_.cols, kBlock);
    return;
  }
  // As many of the innermost kept dimensions as melt into one.
  size_t run = 0;
  while (run < order.size() && !reduced(order[order.size() - 1 - run])) ++run;
  for (; run > 0 && away_elements > 1; --run) {
    const std::vector<uint32_t> outer(kept.begin(), kept.end() - static_cast<long>(run)), inner(kept.end() - static_cast<long>(run), kept.end());
    build(outer, away, inner);
    if (run == 1 || nest_.rank == 1 || nest_.operands[inputs_].strides[nest_.rank - 2] == 0) break;
  }
  if (away_elements > 1 && nest_.cols <= kBlock && !(kept_elements >= 4096 && away_elements <= 64)) {
    plan_ = Plan::columns;
    per_kept_ = away_elements;
    group_ = std::min<uint64_t>(std::max<uint64_t>(1, 512 / nest_.cols), away_elements);
    height_ = std::max<uint64_t>(1, kBlock / nest_.cols / group_) * group_;
    const std::vector<uint32_t> inner(kept.end() - static_cast<long>(run), kept.end());
    for (uint64_t i = 0; i < nest_.cols; ++i) {
      uint64_t at = 0, rest = i;
      for (size_t k = run; k-- > 0; rest /= lead->dims[inner[k]]) at += rest % lead->dims[inner[k]] * tensors_.back().strides[inner[k]];
      places_.push_back(at);
    }
    return;
  }
  plan_ = Plan::tiles;
  build(kept, {}, {});
  for (uint32_t k : away) {
    Reduced d{tensors_[0].dims[k], {}};
    for (uint32_t i = 0; i < inputs_; ++i) d.strides[i] = tensors_[i].strides[k];
    reduced_.push_back(d);
  }
  per_kept_ = away_elements;
  // A tile: whole rows, or a piece of one; at least a few for each thread.
  const uint64_t most = std::max<uint64_t>(64, std::min(kBlock, kept_elements / (4 * static_cast<uint64_t>(threads_))));
  width_ = std::min(nest_.cols, (most + 15) / 16 * 16);
  height_ = nest_.cols > width_ ? 1 : std::max<uint64_t>(1, most / nest_.cols);
}

void Reduce::build(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, const std::vector<uint32_t>& c) {
  std::vector<uint32_t> order(a);
  order.insert(order.end(), b.begin(), b.end());
  order.insert(order.end(), c.begin(), c.end());
  std::vector<std::array<uint32_t, kMaxRank>> strides;
  for (const Tensor& t : tensors_) strides.push_back(t.strides);
  // Stride 0 where the output does not move also keeps kept and reduced dimensions from melting into one.
  for (uint32_t k = 0; k < kMaxRank; ++k)
    if (tensors_.back().dims[k] == 1) strides.back()[k] = 0;
  uint32_t dense = 1;
  for (size_t k = c.size(); k-- > 0; dense *= tensors_[0].dims[c[k]]) strides.back()[c[k]] = dense;
  nest_ = make_nest(tensors_[0].dims.data(), strides, order);
}

std::unique_ptr<Kernel> make_reduce(const Program& p, const Instr& instr, const Device& device) { return std::make_unique<Reduce>(p, instr, device); }

}  // namespace cf::cpu
