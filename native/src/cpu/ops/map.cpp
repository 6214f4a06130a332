// Element-wise expressions over strided operands.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "cpu/kernels/expr.h"
#include "cpu/ops/expr_cost.h"
#include "cpu/ops/nest.h"
#include "cpu/ops/parallel.h"
#include "program/checks.h"

namespace cf::cpu {
namespace {

constexpr uint64_t kLongRow = 512;    ///< from here on a row is worth a call of its own
constexpr uint64_t kCrossCols = 64;   ///< columns of a tile when an operand is transposed
constexpr uint64_t kChunk = 16384;    ///< unit of work along a long row
constexpr uint64_t kShortCopy = 32;   ///< elements that are worth a call of their own when copied
constexpr double kParallelNs = 2500;  ///< below this two threads' meeting costs more than they save

class Map final : public Kernel {
 public:
  Map(const Program& p, const Instr& instr, const Device& device) : threads_(device.threads) {
    check(p, instr);
    run_ = CF_PICK(device.isa, expr_run);
    copy_ = CF_PICK(device.isa, copy_2d);
    expr_ = parse_expr(instr.attrs.data(), instr.attrs.size(), inputs_, outputs_, "map");
    copies_ = expr_.steps.empty() && outputs_ == 1 && copied() < inputs_;
    arrange();
    const double ns = expr_cost(expr_, inputs_ + outputs_) * static_cast<double>(nest_.elements());
    if (ns < kParallelNs) threads_ = 1;
    price_ = {call_cost(inputs_ + outputs_, ns), threads_ == 1};
    plan();
  }

  size_t own_bytes() const override { return thread_floats_ * sizeof(float); }
  Price price() const override { return price_; }
  double flops() const override { return static_cast<double>(nest_.elements()) * static_cast<double>(expr_.operations); }

  void run(const Run& run) const override {
    const float* in[kMaxMapInputs];
    float* out[kMaxExprOutputs];
    for (uint32_t i = 0; i < inputs_; ++i) in[i] = run.f32(tensors_[i]);
    for (uint32_t j = 0; j < outputs_; ++j) out[j] = run.f32(tensors_[inputs_ + j]);
    const auto scratch = [&](size_t slot) { return run.own_floats(slot); };
    if (threads_ == 1 || run.beside_others()) return part(in, out, scratch(0), 0, units_);
    const uint64_t pieces = std::min<uint64_t>(units_, 8 * static_cast<uint64_t>(threads_));
    parallel_units(threads_, pieces, [&](size_t slot, size_t piece) {
      const Part p = part_of(units_, pieces, piece);
      part(in, out, scratch(slot), p.begin, p.end);
    });
  }

 private:
  void check(const Program& p, const Instr& instr) {
    check_map(p, instr);
    inputs_ = static_cast<uint32_t>(instr.inputs.size()), outputs_ = static_cast<uint32_t>(instr.outputs.size());
    for (uint32_t id : instr.inputs) tensors_.push_back(p.tensors[id]);
    for (uint32_t id : instr.outputs) tensors_.push_back(p.tensors[id]);
  }

  uint32_t copied() const { return expr_.results[0].value; }

  void arrange() {
    const Tensor& first = tensors_[inputs_];
    std::vector<std::array<uint32_t, kMaxRank>> strides;
    for (const Tensor& t : tensors_) strides.push_back(t.strides);
    std::vector<uint32_t> order(first.rank);
    std::iota(order.begin(), order.end(), 0u);
    const auto sort_by = [&](const std::array<uint32_t, kMaxRank>& s) {
      std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return s[a] > s[b]; });
    };
    // Outermost is where the first output takes its longest steps, whatever order the program names the dimensions in.
    sort_by(first.strides);
    nest_ = make_nest(first.dims.data(), strides, order);
    if (!copies_ || nest_.rank < 3 || nest_.cols * nest_.dims[nest_.rank - 2] >= kShortCopy) return;
    // A squeeze would be copied two by two elements. Innermost is where the input takes its shortest step, then its next one along enough elements.
    sort_by(tensors_[copied()].strides);
    const auto cols = std::find_if(order.rbegin(), order.rend(), [&](uint32_t k) { return first.dims[k] > 1; });
    const auto rows = std::find_if(cols + 1, order.rend(), [&](uint32_t k) { return uint64_t{first.dims[k]} * first.dims[*cols] >= kShortCopy; });
    if (rows == order.rend()) return;
    const uint32_t inner[] = {*rows, *cols};
    sort_by(first.strides);
    for (const uint32_t last : inner) std::stable_partition(order.begin(), order.end(), [&](uint32_t k) { return k != last; });
    nest_ = make_nest(first.dims.data(), strides, order);
  }

  void plan() {
    bool crossed = false;
    straight_ = true;
    for (const Nest::Operand& o : nest_.operands) {
      straight_ = straight_ && Nest::straight(o);
      crossed = crossed || nest_.crossed(o);
    }
    if (crossed && nest_.cols > kCrossCols && nest_.dims[nest_.rank - 2] > 1) {
      width_ = kCrossCols, height_ = kBlock / kCrossCols;
      by_row_ = false;
    } else if (nest_.rows == 1 || nest_.cols > kBlock || (straight_ && nest_.cols >= kLongRow)) {
      width_ = std::min(nest_.cols, straight_ ? kChunk : kBlock), height_ = 1;
      by_row_ = true;
    } else {
      width_ = nest_.cols, height_ = std::max<uint64_t>(1, kBlock / nest_.cols);
      by_row_ = false;
    }
    units_ = (nest_.rows + height_ - 1) / height_ * ((nest_.cols + width_ - 1) / width_);
    // Threads that share one short row still each get some of it, in whole cache lines.
    if (by_row_ && threads_ > 1 && units_ < 4 * static_cast<uint64_t>(threads_)) {
      const uint64_t pieces = (4 * static_cast<uint64_t>(threads_) + nest_.rows - 1) / nest_.rows;
      width_ = std::min(width_, (nest_.cols / pieces + 16) / 16 * 16);
      units_ = nest_.rows * ((nest_.cols + width_ - 1) / width_);
    }
    const size_t blocks = copies_ ? 0 : nest_.operands.size();
    thread_floats_ = round_up(expr_scratch_floats(expr_) + blocks * kBlock, 16);
  }

  void part(const float* const* in, float* const* out, float* scratch, uint64_t begin, uint64_t end) const {
    float* const blocks = scratch + expr_scratch_floats(expr_);
    const uint64_t per_band = (nest_.cols + width_ - 1) / width_;
    // Neighbouring pieces of one row are one piece, as long as nothing has to be gathered for it.
    if (nest_.rows == 1 && straight_)
      return unit(in, out, scratch, blocks, 0, 1, begin * width_, std::min(end * width_, nest_.cols) - begin * width_, nullptr);
    uint32_t ready = 0;  // periodic operands whose block already holds whole rows
    for (uint64_t u = begin; u < end; ++u) {
      const uint64_t row = u / per_band * height_, col = u % per_band * width_;
      unit(in, out, scratch, blocks, row, std::min(height_, nest_.rows - row), col, std::min(width_, nest_.cols - col), per_band == 1 ? &ready : nullptr);
    }
  }

  void unit(const float* const* in, float* const* out, float* scratch, float* blocks, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols,
            uint32_t* ready) const {
    if (copies_) return nest_.transfer(nest_.operands[copied()], in[copied()], nest_.operands[inputs_], out[0], row, rows, col, cols, copy_);
    const float* from[kMaxMapInputs];
    uint8_t broadcast[kMaxMapInputs];
    float* to[kMaxExprOutputs];
    nest_.read_all(inputs_, in, row, rows, col, cols, blocks, ready, from, broadcast, copy_);
    for (uint32_t j = 0; j < outputs_; ++j) {
      const Nest::Operand& o = nest_.operands[inputs_ + j];
      uint8_t ignored;
      const bool direct = rows == 1 ? Nest::straight(o) : o.flat && cols == nest_.cols;
      to[j] = direct ? const_cast<float*>(nest_.read(o, out[j], row, rows, col, cols, nullptr, &ignored, copy_)) : blocks + (inputs_ + j) * kBlock;
    }
    run_(expr_, from, broadcast, to, rows * cols, scratch);
    for (uint32_t j = 0; j < outputs_; ++j)
      if (to[j] == blocks + (inputs_ + j) * kBlock) nest_.scatter(nest_.operands[inputs_ + j], out[j], row, rows, col, cols, to[j], copy_);
  }

  int threads_;
  Price price_;
  uint32_t inputs_ = 0, outputs_ = 0;
  std::vector<Tensor> tensors_;
  Nest nest_;
  Expr expr_;
  bool by_row_ = false, copies_ = false, straight_ = false;
  uint64_t width_ = 0, height_ = 0, units_ = 0;
  size_t thread_floats_ = 0;
  decltype(CF_PICK(Isa::portable, expr_run)) run_ = nullptr;
  Copy2d copy_ = nullptr;
};

}  // namespace

std::unique_ptr<Kernel> make_map(const Program& p, const Instr& instr, const Device& device) { return std::make_unique<Map>(p, instr, device); }

}  // namespace cf::cpu
