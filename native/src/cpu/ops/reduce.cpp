// Sums and maxima of an expression over some axes. Three plans, by where the innermost dimension of memory goes:
//   rows:    it is reduced. Rows of the space are summed one after the other.
//   columns: it is kept and short, and much is reduced: bias gradients. Rows are added onto a row of accumulators.
//   tiles:   else. A tile of kept elements is accumulated over the few things reduced: pooling.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/expr.h"
#include "cpu/kernels/reduce.h"
#include "cpu/ops/expr_cost.h"
#include "cpu/ops/nest.h"

namespace cf::cpu {
namespace {

constexpr double kParallelNs = 6000;
constexpr uint64_t kStretch = 256;  ///< additions in float before they go to double

class Reduce final : public Kernel {
 public:
  Reduce(const Program& p, const Instr& instr, const Device& device) : threads_(device.threads) {
    check(p, instr);
    expr_run_ = CF_PICK(device.isa, expr_run);
    copy_ = CF_PICK(device.isa, copy_2d);
    r_ = instr.attrs[0] ? CF_PICK(device.isa, max_reduction)() : CF_PICK(device.isa, sum_reduction)();
    std::memcpy(&scale_, &instr.attrs[2], 4);
    expr_ = parse_expr(instr.attrs.data() + 3, instr.attrs.size() - 3, inputs_, 1, "reduce");
    plain_ = expr_.steps.empty() && expr_.results[0] < inputs_;
    plan(instr.attrs[1]);
    expr_floats_ = (expr_scratch_floats(expr_) + 15) / 16 * 16;
    if (expr_cost(expr_, inputs_) * static_cast<double>(elements_) < kParallelNs) threads_ = 1;
    threads_ = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(threads_), units()));
  }

  size_t scratch_bytes() const override { return static_cast<size_t>(threads_) * thread_floats() * 4 + partial_doubles() * 8; }
  double flops() const override { return static_cast<double>(elements_) * static_cast<double>(1 + expr_.steps.size()); }

  void run(const Run& run) const override {
    const float* in[kMaxMapInputs];
    for (uint32_t i = 0; i < inputs_; ++i) in[i] = run.f32(tensors_[i]);
    float* const out = run.f32(tensors_[inputs_]);
    double* const partials = reinterpret_cast<double*>(run.scratch());
    float* const scratch = reinterpret_cast<float*>(partials + partial_doubles());
    if (threads_ == 1) {
      part(in, out, scratch, partials, 0);
    } else {
#pragma omp parallel for num_threads(threads_) schedule(static, 1)
      for (int t = 0; t < threads_; ++t) part(in, out, scratch + static_cast<size_t>(t) * thread_floats(), partials, t);
    }
    if (plan_ == Plan::rows) join_rows(out, partials);
    if (plan_ == Plan::columns) join_columns(out, partials);
  }

 private:
  enum class Plan { rows, columns, tiles };
  struct Reduced {
    uint64_t dim;
    std::array<uint64_t, kMaxMapInputs> strides;
  };

  void check(const Program& p, const Instr& instr) {
    inputs_ = static_cast<uint32_t>(instr.inputs.size());
    if (inputs_ == 0 || inputs_ > kMaxMapInputs || instr.outputs.size() != 1)
      refuse(p, instr, "expected 1 to 16 inputs and 1 output, found " + std::to_string(inputs_) + " and " + std::to_string(instr.outputs.size()));
    if (instr.attrs.size() < 5) refuse(p, instr, "expected at least 5 attributes, found " + std::to_string(instr.attrs.size()));
    if (instr.attrs[0] > 1) refuse(p, instr, "expected kind 0 (sum) or 1 (max), found " + std::to_string(instr.attrs[0]));
    for (uint32_t id : instr.inputs) tensors_.push_back(p.tensors[id]);
    tensors_.push_back(p.tensors[instr.outputs[0]]);
    const Tensor &first = tensors_.front(), &out = tensors_.back();
    const uint32_t axes = instr.attrs[1];
    if (axes >> first.rank) refuse(p, instr, "the axes " + std::to_string(axes) + " go beyond rank " + std::to_string(first.rank));
    for (const Tensor& t : tensors_)
      if (t.dtype != DType::f32 || t.rank != first.rank) refuse(p, instr, "expected float32 operands of rank " + std::to_string(first.rank));
    for (uint32_t k = 0; k < first.rank; ++k) {
      for (uint32_t i = 1; i < inputs_; ++i)
        if (tensors_[i].dims[k] != first.dims[k]) refuse(p, instr, "expected inputs of one shape");
      const uint32_t expected = axes >> k & 1 ? 1 : first.dims[k];
      if (out.dims[k] != expected)
        refuse(p, instr, "expected " + std::to_string(expected) + " in dimension " + std::to_string(k) + " of the output, found " + std::to_string(out.dims[k]));
    }
    elements_ = first.elements();
  }

  void plan(uint32_t axes) {
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

  void build(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, const std::vector<uint32_t>& c) {
    std::vector<uint32_t> order(a);
    order.insert(order.end(), b.begin(), b.end());
    order.insert(order.end(), c.begin(), c.end());
    std::vector<std::array<uint32_t, kMaxRank>> strides;
    for (const Tensor& t : tensors_) strides.push_back(t.strides);
    // Stride 0 where the output does not move also keeps kept and reduced dimensions from melting into one.
    for (uint32_t k = 0; k < kMaxRank; ++k)
      if (tensors_.back().dims[k] == 1) strides.back()[k] = 0;
    nest_ = make_nest(tensors_[0].dims.data(), strides, order);
  }

  /// The expression's values on a piece of the space, in iteration order.
  const float* values(const float* const* in, float* scratch, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, uint32_t* ready) const {
    float* const blocks = scratch + expr_floats_;
    const float* from[kMaxMapInputs];
    uint8_t broadcast[kMaxMapInputs];
    nest_.read_all(inputs_, in, row, rows, col, cols, blocks, ready, from, broadcast, copy_);
    if (plain_ && !broadcast[expr_.results[0]]) return from[expr_.results[0]];
    float* const to = blocks + inputs_ * kBlock;
    expr_run_(expr_, from, broadcast, &to, rows * cols, scratch);
    return to;
  }

  uint64_t units() const {
    if (plan_ == Plan::columns) return outer() >= 4 * static_cast<uint64_t>(threads_) ? outer() : (per_kept_ + height_ - 1) / height_;
    return (nest_.rows + height_ - 1) / height_ * ((nest_.cols + width_ - 1) / width_);
  }
  uint64_t outer() const { return nest_.rows / per_kept_; }
  bool split_outer() const { return outer() >= 4 * static_cast<uint64_t>(threads_); }

  size_t thread_floats() const { return expr_floats_ + (inputs_ + 1) * kBlock + 3 * kBlock; }
  size_t partial_doubles() const {
    if (plan_ == Plan::rows) return static_cast<size_t>(threads_) * 4 + 8 - static_cast<size_t>(threads_) * 4 % 8;
    if (plan_ == Plan::columns && !split_outer()) return (static_cast<size_t>(threads_) * outer() * nest_.cols + 7) / 8 * 8;
    return 0;
  }

  void part(const float* const* in, float* out, float* scratch, double* partials, int t) const {
    if (plan_ == Plan::rows) return rows_part(in, out, scratch, partials + 4 * t, t);
    if (plan_ == Plan::columns) return columns_part(in, out, scratch, partials, t);
    tiles_part(in, out, scratch, t);
  }

  /// Its first and its last sum may continue in a neighbour's share: they go to `edge` as (index, value) pairs, those between are done.
  void rows_part(const float* const* in, float* out, float* scratch, double* edge, int t) const {
    uint64_t begin, end, ready_for = 0;
    share(units(), t, threads_, &begin, &end);
    edge[0] = edge[2] = -1;
    uint32_t ready = 0;
    (void)ready_for;
    bool any = false;
    uint64_t current = 0;
    double total = r_.identity;
    const auto close = [&] {
      if (edge[0] < 0) edge[0] = static_cast<double>(current), edge[1] = total;
      else put(out, current, total);
    };
    const uint64_t per_row = (nest_.cols + width_ - 1) / width_;
    for (uint64_t u = begin; u < end; ++u) {
      const uint64_t row = per_row > 1 ? u / per_row : u * height_, rows = per_row > 1 ? 1 : std::min(height_, nest_.rows - row);
      const uint64_t col = u % per_row * width_, cols = std::min(width_, nest_.cols - col);
      const float* v = values(in, scratch, row, rows, col, cols, per_row > 1 ? nullptr : &ready);
      for (uint64_t r = 0; r < rows; ++r, v += cols) {
        const uint64_t kept = (row + r) / per_kept_;
        if (any && kept != current) close(), total = r_.identity;
        any = true, current = kept;
        total = r_.join(total, r_.row(v, cols));
      }
    }
    if (any) edge[2] = static_cast<double>(current), edge[3] = total;
  }

  void join_rows(float* out, const double* partials) const {
    double current = -1, total = r_.identity;
    for (int i = 0; i < 2 * threads_; ++i) {
      const double index = partials[2 * i];
      if (index < 0) continue;
      if (current >= 0 && index != current) put(out, static_cast<uint64_t>(current), total), total = r_.identity;
      current = index;
      total = r_.join(total, partials[2 * i + 1]);
    }
    if (current >= 0) put(out, static_cast<uint64_t>(current), total);
  }

  void put(float* out, uint64_t kept, double total) const {
    out[nest_.offset(nest_.operands[inputs_], kept * per_kept_)] = static_cast<float>(total * static_cast<double>(scale_));
  }

  void columns_part(const float* const* in, float* out, float* scratch, double* partials, int t) const {
    const uint64_t c = nest_.cols, period = c * group_;
    uint64_t first = 0, last = outer(), begin = 0, end = per_kept_;
    if (split_outer()) {
      share(outer(), t, threads_, &first, &last);
    } else {
      share((per_kept_ + height_ - 1) / height_, t, threads_, &begin, &end);
      begin *= height_, end = std::min(end * height_, per_kept_);
    }
    float* const acc = scratch + thread_floats() - 3 * kBlock;
    double* const total = reinterpret_cast<double*>(acc + kBlock);
    for (uint64_t i = 0; i < period; ++i) acc[i] = static_cast<float>(r_.identity);
    uint32_t ready = 0;
    for (uint64_t o = first; o < last; ++o) {
      for (uint64_t i = 0; i < period; ++i) total[i] = r_.identity;
      uint64_t added = 0;
      for (uint64_t d = begin; d < end; d += height_) {
        const uint64_t rows = std::min(height_, end - d), whole = rows / group_;
        const float* v = values(in, scratch, o * per_kept_ + d, rows, 0, c, &ready);
        r_.fold(acc, v, period, whole);
        if (rows % group_) r_.fold(acc, v + whole * period, rows % group_ * c, 1);
        added += whole + 1;
        if (added >= kStretch) r_.flush(total, acc, period), added = 0;
      }
      r_.flush(total, acc, period);
      for (uint64_t g = 1; g < group_; ++g)
        for (uint64_t i = 0; i < c; ++i) total[i] = r_.join(total[i], total[g * c + i]);
      if (split_outer()) put_row(out, o, total);
      else std::memcpy(partials + (static_cast<uint64_t>(t) * outer() + o) * c, total, c * sizeof(double));
    }
  }

  void join_columns(float* out, double* partials) const {
    if (split_outer()) return;
    const uint64_t c = nest_.cols;
    for (uint64_t o = 0; o < outer(); ++o) {
      double* const total = partials + o * c;
      for (int t = 1; t < threads_; ++t)
        for (uint64_t i = 0; i < c; ++i) total[i] = r_.join(total[i], partials[(static_cast<uint64_t>(t) * outer() + o) * c + i]);
      put_row(out, o, total);
    }
  }

  void put_row(float* out, uint64_t o, const double* total) const {
    const Nest::Operand& operand = nest_.operands[inputs_];
    float* const to = out + nest_.offset(operand, o * per_kept_);
    for (uint64_t i = 0; i < nest_.cols; ++i) to[i * operand.last] = static_cast<float>(total[i] * static_cast<double>(scale_));
  }

  void tiles_part(const float* const* in, float* out, float* scratch, int t) const {
    float* const acc = scratch + thread_floats() - 3 * kBlock;
    double* const total = reinterpret_cast<double*>(acc + kBlock);
    const Nest::Operand& operand = nest_.operands[inputs_];
    const uint64_t per_row = (nest_.cols + width_ - 1) / width_;
    uint64_t begin, end;
    share(units(), t, threads_, &begin, &end);
    for (uint64_t u = begin; u < end; ++u) {
      const uint64_t row = per_row > 1 ? u / per_row : u * height_, rows = per_row > 1 ? 1 : std::min(height_, nest_.rows - row);
      const uint64_t col = u % per_row * width_, cols = std::min(width_, nest_.cols - col), n = rows * cols;
      for (uint64_t i = 0; i < n; ++i) acc[i] = static_cast<float>(r_.identity), total[i] = r_.identity;
      std::array<uint64_t, kMaxRank> at{};
      const float* base[kMaxMapInputs];
      std::copy(in, in + inputs_, base);
      for (uint64_t d = 0; d < per_kept_; ++d) {
        r_.fold(acc, values(base, scratch, row, rows, col, cols, nullptr), n, 1);
        if (d % kStretch == kStretch - 1) r_.flush(total, acc, n);
        for (size_t k = reduced_.size(); k-- > 0;) {
          for (uint32_t i = 0; i < inputs_; ++i) base[i] += reduced_[k].strides[i];
          if (++at[k] < reduced_[k].dim) break;
          for (uint32_t i = 0; i < inputs_; ++i) base[i] -= reduced_[k].strides[i] * reduced_[k].dim;
          at[k] = 0;
        }
      }
      r_.flush(total, acc, n);
      for (uint64_t i = 0; i < n; ++i) acc[i] = static_cast<float>(total[i] * static_cast<double>(scale_));
      nest_.scatter(operand, out, row, rows, col, cols, acc, copy_);
    }
  }

  int threads_;
  uint32_t inputs_ = 0;
  uint64_t elements_ = 0;
  std::vector<Tensor> tensors_;  ///< inputs, then the output
  Expr expr_;
  bool plain_ = false;  ///< the expression is one of the inputs
  float scale_ = 1;
  Reduction r_{};
  Plan plan_ = Plan::rows;
  Nest nest_;                     ///< operands: inputs, then the output
  std::vector<Reduced> reduced_;  ///< tiles only
  uint64_t per_kept_ = 1;         ///< rows per kept row (rows, columns), or elements reduced (tiles)
  uint64_t height_ = 1, width_ = 1, group_ = 1;
  size_t expr_floats_ = 0;
  decltype(CF_PICK(Isa::portable, expr_run)) expr_run_ = nullptr;
  Copy2d copy_ = nullptr;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce(const Program& p, const Instr& instr, const Device& device) { return std::make_unique<Reduce>(p, instr, device); }

}  // namespace cf::cpu
