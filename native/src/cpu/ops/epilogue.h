// What follows a product or a convolution on each of its results: nothing, or an expression over the result and further operands that is evaluated
// while the result is still in cache.
#pragma once
#include <array>
#include <vector>

#include "cpu/kernel.h"
#include "cpu/kernels/copy.h"
#include "cpu/kernels/expr.h"
#include "cpu/kernels/pool.h"

namespace cf::cpu {

/// Outputs of products and convolutions seen as [images, rows, pixels, channels]; a matrix product has one row of m pixels per batch entry.
struct Grid {
  size_t images, rows, pixels, channels;
  size_t all_pixels() const noexcept { return images * rows * pixels; }
};

class Epilogue {
 public:
  static constexpr size_t kMaxInputs = 16, kMaxOutputs = 8;

  /// Takes the instruction's inputs after `own_inputs` and attribute words after `own_attrs`, and all of its outputs. Refuses operands whose dims differ
  /// from `dims`, or whose last stride is not 1 (or, operands only, 0). Bit j of `pooled`: output j is the sum over 2×2 pixels of what the expression
  /// gives, at half the rows and pixels; `apply` must then see both rows of a pair, the upper one first, and whole pairs of pixels.
  Epilogue(const Program& program, const Instr& instr, size_t own_inputs, size_t own_attrs, const std::vector<size_t>& dims, const Device& device,
           uint32_t pooled = 0);

  const Grid& grid() const noexcept { return grid_; }
  /// False: the result itself is the only output.
  bool active() const noexcept { return active_; }
  /// Without an expression: where the result goes, floats between its pixels, and whether images and rows follow without gaps.
  const Tensor& result() const noexcept { return outputs_[0].tensor; }
  size_t result_pixel() const noexcept { return outputs_[0].stride[2]; }
  bool result_dense() const noexcept { return result_uniform() && result_pixel() == grid_.channels; }
  /// Pixel p of the flattened grid lies at p·result_pixel().
  bool result_uniform() const noexcept { return uniform_; }

  /// Operand pointers of one run.
  struct Bound {
    std::array<const float*, kMaxInputs> in;
    std::array<float*, kMaxOutputs> out;
  };
  Bound bind(const Run& run) const;

  size_t scratch_floats() const noexcept { return scratch_floats_; }  ///< per thread
  /// Applies the expression to `count` pixels of one row (or, without one, copies them) for channels [channel, channel + channels).
  /// The result's pixel p is at raw + p·raw_pixel.
  void apply(const Bound& bound, size_t image, size_t row, size_t pixel, size_t count, size_t channel, size_t channels, const float* raw, size_t raw_pixel,
             float* scratch) const;
  /// The same for `rows` rows, those of the result raw_row floats apart.
  void apply_rows(const Bound& bound, size_t image, size_t row, size_t rows, size_t pixel, size_t count, size_t channel, size_t channels, const float* raw,
                  size_t raw_pixel, size_t raw_row, float* scratch) const;
  /// The same for pixels [begin, end) of the flattened grid and all channels.
  void apply_flat(const Bound& bound, size_t begin, size_t end, const float* raw, size_t raw_pixel, float* scratch) const;

 private:
  struct Operand {
    Tensor tensor;
    std::array<size_t, 4> stride;  // of image, row, pixel, channel
  };
  static Operand operand(const Tensor& t);
  bool is_pooled(size_t output) const noexcept { return pooled_ >> output & 1; }

  Grid grid_{};
  bool active_ = false, uniform_ = false;
  // In every operand rows follow without gaps, so that several are one long row; images too. Calls for a few pixels each would take longer than the work.
  bool rows_merge_ = false, images_merge_ = false;
  uint32_t pooled_ = 0;
  Expr expr_;
  std::vector<Operand> inputs_, outputs_;
  size_t scratch_floats_ = 0;
  decltype(&portable::expr_run) run_ = nullptr;
  Copy2d copy_ = nullptr;
  decltype(&portable::pool_pairs) pool_ = nullptr;
};

}  // namespace cf::cpu
