// Sums and maxima of an expression over some axes. Three plans, by where the innermost dimension of memory goes:
//   rows:    it is reduced. Rows of the space are summed one after the other.
//   columns: it is kept and short, and much is reduced: bias gradients. Rows are added onto a row of accumulators.
//   tiles:   else. A tile of kept elements is accumulated over the few things reduced: pooling.
#pragma once
#include "cpu/kernels/expr.h"
#include "cpu/kernels/reduce.h"
#include "cpu/ops/nest.h"

namespace cf::cpu {

class Reduce final : public Kernel {
 public:
  Reduce(const Program& p, const Instr& instr, const Device& device);
  size_t scratch_bytes() const override { return partial_doubles() * sizeof(double); }
  size_t own_bytes() const override { return thread_floats() * sizeof(float); }
  Price price() const override { return price_; }
  double flops() const override { return static_cast<double>(elements_) * static_cast<double>(1 + expr_.operations); }
  void run(const Run& run) const override;

 private:
  enum class Plan { rows, columns, tiles };
  struct Reduced {
    uint64_t dim;
    std::array<uint64_t, kMaxMapInputs> strides;
  };

  void check(const Program& p, const Instr& instr);
  void plan(uint32_t axes);
  /// The space in the order of a, b, c. Along c the output is seen as dense, so that only what is read decides how many of its dimensions melt into one.
  void build(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, const std::vector<uint32_t>& c);

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

  void part(const float* const* in, float* out, float* scratch, double* partials, int t) const;
  /// The expression's values on a piece of the space, in iteration order.
  const float* values(const float* const* in, float* scratch, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, uint32_t* ready) const;
  /// A thread's first and last sum may continue in a neighbour's share: they go to `edge` as (index, value) pairs; those between are done.
  void rows_part(const float* const* in, float* out, float* scratch, double* edge, int t) const;
  void join_rows(float* out, const double* partials) const;
  void put(float* out, uint64_t kept, double total) const;
  void columns_part(const float* const* in, float* out, float* scratch, double* partials, int t) const;
  void join_columns(float* out, double* partials) const;
  void put_row(float* out, uint64_t o, const double* total) const;
  void tiles_part(const float* const* in, float* out, float* scratch, int t) const;

  int threads_;
  Price price_;
  uint32_t inputs_ = 0;
  uint64_t elements_ = 0;
  std::vector<Tensor> tensors_;  ///< inputs, then the output
  Expr expr_;
  bool packed_ = true;  ///< kept element i is output element i (rows only)
  bool plain_ = false;  ///< the expression is one of the inputs
  float scale_ = 1;
  Reduction r_{};
  Plan plan_ = Plan::rows;
  Nest nest_;                     ///< operands: inputs, then the output
  std::vector<Reduced> reduced_;  ///< tiles only
  std::vector<uint64_t> places_;  ///< of a row's sums in the output, from the first (columns only)
  uint64_t per_kept_ = 1;         ///< rows per kept row (rows, columns), or elements reduced (tiles)
  uint64_t height_ = 1, width_ = 1, group_ = 1;
  size_t expr_floats_ = 0;
  decltype(CF_PICK(Isa::portable, expr_run)) expr_run_ = nullptr;
  Copy2d copy_ = nullptr;
};

}  // namespace cf::cpu
