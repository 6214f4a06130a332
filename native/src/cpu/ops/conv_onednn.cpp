// Direct convolutions through oneDNN, with the epilogue in a pass of its own.
#include "cpu/onednn.h"
#include "cpu/ops/conv_direct.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

class OnednnConv final : public Kernel {
 public:
  OnednnConv(std::unique_ptr<onednn::Primitive> primitive, double flops, const Tensor& a, const Tensor& w, const Tensor* bias, Epilogue epilogue,
             const Device& device)
      : primitive_(std::move(primitive)),
        flops_(flops),
        a_(a),
        w_(w),
        bias_(bias ? *bias : Tensor{}),
        has_bias_(bias != nullptr),
        epilogue_(std::move(epilogue)),
        threads_(static_cast<size_t>(device.threads)),
        straight_(!epilogue_.active() && epilogue_.result_dense()) {}

  double flops() const override { return flops_; }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  size_t own_bytes() const override { return straight_ ? 0 : epilogue_.scratch_floats() * sizeof(float); }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const Epilogue::Bound bound = epilogue_.bind(run);
    float* to = straight_ ? bound.out[0] : p.raw;
    primitive_->run(run.f32(a_), run.f32(w_), has_bias_ ? run.f32(bias_) : nullptr, to, p.primitive);
    if (straight_) return;
    const Grid& g = epilogue_.grid();
    const size_t pixels = g.all_pixels();
    parallel_for(static_cast<int>(threads_), threads_, [&](size_t slot) {
      const Part part = part_of(pixels, threads_, slot);
      if (run.cancelled()) return;
      epilogue_.apply_flat(bound, part.begin, part.end, to + part.begin * g.channels, g.channels, run.own_floats(slot));
    });
  }

 private:
  struct Parts {
    char* primitive;
    float* raw;
  };
  Parts take(Scratch& s) const {
    char* primitive = s.bytes(primitive_->scratch_bytes());
    if (straight_) return {primitive, nullptr};
    const Grid& g = epilogue_.grid();
    return {primitive, s.floats(g.all_pixels() * g.channels)};
  }

  std::unique_ptr<onednn::Primitive> primitive_;
  double flops_;
  Tensor a_, w_, bias_;
  bool has_bias_;
  Epilogue epilogue_;
  size_t threads_;
  bool straight_;
};

class OnednnWeightGrad final : public Kernel {
 public:
  OnednnWeightGrad(std::unique_ptr<onednn::Primitive> primitive, double flops, const Tensor& x, const Tensor& dy, const Tensor& dw)
      : primitive_(std::move(primitive)), flops_(flops), x_(x), dy_(dy), dw_(dw) {}
  double flops() const override { return flops_; }
  size_t scratch_bytes() const override { return primitive_->scratch_bytes(); }
  void run(const Run& run) const override { primitive_->run(run.f32(x_), run.f32(dy_), nullptr, run.f32(dw_), run.scratch()); }

 private:
  std::unique_ptr<onednn::Primitive> primitive_;
  double flops_;
  Tensor x_, dy_, dw_;
};

}  // namespace

std::unique_ptr<Kernel> make_onednn_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device) {
  return std::make_unique<OnednnConv>(onednn::conv(s, bias != nullptr, device.threads), s.flops(), x, w, bias, std::move(epilogue), device);
}
std::unique_ptr<Kernel> make_onednn_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device) {
  return std::make_unique<OnednnConv>(onednn::conv_data_grad(s, device.threads), s.flops(), dy, w, nullptr, std::move(epilogue), device);
}
std::unique_ptr<Kernel> make_onednn_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device) {
  return std::make_unique<OnednnWeightGrad>(onednn::conv_weight_grad(s, device.threads), s.flops(), x, dy, dw);
}

}  // namespace cf::cpu
