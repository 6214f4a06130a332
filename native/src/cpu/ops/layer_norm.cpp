// Layer normalisation and its gradient.
#include "cpu/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernel.h"
#include "program/operands.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

constexpr size_t kRows = 64;                ///< rows of one unit of work
constexpr double kParallelElements = 12e3;  ///< from which a second thread pays for its start

class LayerNorm final : public Kernel {
 public:
  LayerNorm(const Operands& o, const Device& device, const Tensor& x, bool gradient)
      : gradient_(gradient), forward_(CF_PICK(device.isa, layer_norm_rows)), backward_(CF_PICK(device.isa, layer_norm_grad_rows)) {
    if (x.rank < 1) o.bad("x: expected rank 1 or more");
    const std::vector<size_t> dims = Operands::dims_of(x);
    const size_t c = dims.back();
    x_ = o.input(0, "x", dims);
    gain_ = o.input(1, "gain", {c});
    args_.channels = c;
    args_.eps = o.attr_float(0);
    if (!(args_.eps >= 0.0f) || !std::isfinite(args_.eps)) o.bad("expected a finite eps of at least 0, found " + std::to_string(args_.eps));
    rows_ = x.elements() / c;
    if (gradient) {
      other_ = o.input(2, "dy", dims);
      out_ = o.output(0, "dx", dims), dgain_ = o.output(1, "dgain", {c}), dbias_ = o.output(2, "dbias", {c});
    } else {
      other_ = o.input(2, "bias", {c});
      out_ = o.output(0, "y", dims);
    }
    const size_t units = ceil_div(rows_, kRows), want = static_cast<size_t>(device.threads);
    threads_ = static_cast<double>(x.elements()) < kParallelElements ? 1 : want < units ? want : units;
  }

  size_t scratch_bytes() const override { return gradient_ ? threads_ * 2 * args_.channels * sizeof(double) : 0; }
  size_t own_bytes() const override { return gradient_ ? 2 * round_up(args_.channels, 16) * sizeof(float) : 0; }
  double flops() const override { return static_cast<double>(rows_ * args_.channels) * (gradient_ ? 20 : 8); }

  void run(const Run& run) const override {
    const size_t c = args_.channels;
    LayerNormArgs a = args_;
    a.x = run.f32(x_), a.gain = run.f32(gain_);
    (gradient_ ? a.dy : a.bias) = run.f32(other_);
    (gradient_ ? a.dx : a.y) = run.f32(out_);
    if (!gradient_) {
      parallel_for(static_cast<int>(threads_), ceil_div(rows_, kRows), [&](size_t i) {
        if (!run.cancelled()) forward_(a, i * kRows, std::min(rows_, (i + 1) * kRows));
      });
      return;
    }
    double* const sums = reinterpret_cast<double*>(run.scratch());
    for (size_t i = 0; i < threads_ * 2 * c; ++i) sums[i] = 0;
    // Each thread has a part of its own: the sums depend on who adds what.
    parallel_for(static_cast<int>(threads_), threads_, [&](size_t t) {
      const Part part = part_of(rows_, threads_, t, kRows);
      for (size_t at = part.begin; at < part.end && !run.cancelled(); at += kRows)
        backward_(a, at, std::min(part.end, at + kRows), run.own_floats(t), sums + t * 2 * c);
    });
    if (run.cancelled()) return;
    float* results[2] = {run.f32(dgain_), run.f32(dbias_)};
    for (size_t i = 0; i < 2 * c; ++i) {
      double sum = 0;
      for (size_t t = 0; t < threads_; ++t) sum += sums[t * 2 * c + i];
      results[i / c][i % c] = static_cast<float>(sum);
    }
  }

 private:
  bool gradient_;
  decltype(&portable::layer_norm_rows) forward_;
  decltype(&portable::layer_norm_grad_rows) backward_;
  LayerNormArgs args_{};
  Tensor x_, gain_, other_, out_, dgain_, dbias_;
  size_t rows_ = 0, threads_ = 1;
};

std::unique_ptr<Kernel> make(const Program& program, const Instr& instr, const Device& device, bool gradient) {
  const Operands o(program, instr, 3, gradient ? 3 : 1, 1);
  return std::make_unique<LayerNorm>(o, device, program.tensors[instr.inputs[0]], gradient);
}

}  // namespace

std::unique_ptr<Kernel> make_layer_norm(const Program& program, const Instr& instr, const Device& device) { return make(program, instr, device, false); }
std::unique_ptr<Kernel> make_layer_norm_grad(const Program& program, const Instr& instr, const Device& device) { return make(program, instr, device, true); }

}  // namespace cf::cpu
