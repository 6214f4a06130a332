// Convolutions with many weights and few output positions (the last layer of an energy network: a kernel as large as its input). Their time is that of
// reading the weights, so these stay as they are, [O, I·kh·kw], and the few patches of x are gathered in the weights' order instead.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/gemm_dot.h"
#include "cpu/ops/conv_direct.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

/// Patch m is output position m; element i·taps + tap is the input that meets weight (i, tap), zero outside the image.
class Patches {
 public:
  explicit Patches(const ConvShape& s) : s_(s) {}
  size_t count() const { return s_.n * s_.oh * s_.ow; }
  size_t length() const { return s_.i * s_.taps(); }

  void gather(const float* x, size_t m, float* to) const {
    visit(m, x, [&](size_t tap, const float* pixel, size_t i0, size_t i1) {
      for (size_t i = i0; i < i1; ++i) to[i * s_.taps() + tap] = pixel ? pixel[i] : 0;
    });
  }
  void scatter(const float* from, size_t m, float* dx) const {
    visit(m, dx, [&](size_t tap, float* pixel, size_t i0, size_t i1) {
      for (size_t i = i0; pixel && i < i1; ++i) pixel[i] += from[i * s_.taps() + tap];
    });
  }

 private:
  // A block of channels at a time, so that the lines of the patch that all taps share stay in the first-level cache.
  template <class T, class F>
  void visit(size_t m, T* image, F&& f) const {
    const size_t n = m / (s_.oh * s_.ow), oy = m / s_.ow % s_.oh, ox = m % s_.ow;
    constexpr size_t kChannels = 64;
    for (size_t i = 0; i < s_.i; i += kChannels)
      for (size_t t = 0; t < s_.taps(); ++t) {
        const size_t y = oy * s_.stride + t / s_.kw - s_.padding, x = ox * s_.stride + t % s_.kw - s_.padding;  // wrap around when negative
        f(t, y < s_.h && x < s_.w ? image + ((n * s_.h + y) * s_.w + x) * s_.i : nullptr, i, std::min(s_.i, i + kChannels));
      }
  }
  ConvShape s_;
};

class PatchConv final : public Kernel {
 public:
  PatchConv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device)
      : s_(s),
        patches_(s),
        x_(x),
        w_(w),
        bias_(bias ? *bias : Tensor{}),
        has_bias_(bias != nullptr),
        epilogue_(std::move(epilogue)),
        threads_(static_cast<size_t>(device.threads)),
        dot_(CF_PICK(device.isa, gemm_dot)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const int threads = static_cast<int>(threads_);
    const float *x = run.f32(x_), *w = run.f32(w_), *bias = has_bias_ ? run.f32(bias_) : nullptr;
    const size_t count = patches_.count(), k = patches_.length();
    parallel_for(threads, count, [&](size_t m) { patches_.gather(x, m, p.patches + m * k); });
    constexpr size_t kOut = 4;
    parallel_for(threads, ceil_div(s_.o, kOut), [&](size_t i) {
      if (run.cancelled()) return;
      const size_t o = i * kOut;
      dot_(p.patches, k, w + o * k, k, bias ? bias + o : nullptr, p.raw + o, s_.o, count, std::min(kOut, s_.o - o), k);
    });
    epilogue_.apply_flat(epilogue_.bind(run), 0, count, p.raw, s_.o, p.expr);
  }

 private:
  struct Parts {
    float *patches, *raw, *expr;
  };
  Parts take(Scratch& s) const {
    float* patches = s.floats(patches_.count() * patches_.length());
    float* raw = s.floats(patches_.count() * s_.o);
    return {patches, raw, s.floats(epilogue_.scratch_floats())};
  }
  ConvShape s_;
  Patches patches_;
  Tensor x_, w_, bias_;
  bool has_bias_;
  Epilogue epilogue_;
  size_t threads_;
  decltype(&portable::gemm_dot) dot_;
};

constexpr size_t kColumns = 256;  // of the patches, at a time: a kilobyte of each row of weights, which is long enough to stream

class PatchDataGrad final : public Kernel {
 public:
  PatchDataGrad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device)
      : s_(s),
        patches_(s),
        dy_(dy),
        w_(w),
        epilogue_(std::move(epilogue)),
        threads_(static_cast<size_t>(device.threads)),
        panel_(panel_width(device.isa)),
        gemm_(CF_PICK(device.isa, gemm)),
        pack_(CF_PICK(device.isa, gemm_pack)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  size_t own_bytes() const override { return (panel_floats() + epilogue_.scratch_floats()) * sizeof(float); }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const int threads = static_cast<int>(threads_);
    const float *dy = run.f32(dy_), *w = run.f32(w_);
    const size_t count = patches_.count(), k = patches_.length(), pieces = ceil_div(k, kColumns);
    parallel_for(threads, threads_, [&](size_t slot) {
      float* const panels = run.own_floats(slot);
      for (size_t i = slot; i < pieces && !run.cancelled(); i += threads_) {
        const size_t first = i * kColumns, n = std::min(kColumns, k - first);
        pack_(w + first, k, 1, s_.o, n, panels);
        gemm_({&dy, 1, s_.o, s_.o, 1, panels, s_.o * panel_, panel_, p.patches + first, k, count, n, nullptr, false});
      }
    });
    const Epilogue::Bound bound = epilogue_.bind(run);
    const size_t each = s_.oh * s_.ow, pixels = s_.h * s_.w;
    parallel_for(threads, threads_, [&](size_t slot) {
      float* const expr = run.own_floats(slot) + panel_floats();
      for (size_t n = slot; n < s_.n && !run.cancelled(); n += threads_) {
        std::memset(p.raw + n * pixels * s_.i, 0, pixels * s_.i * sizeof(float));
        for (size_t m = n * each; m < (n + 1) * each; ++m) patches_.scatter(p.patches + m * k, m, p.raw);
        epilogue_.apply_flat(bound, n * pixels, (n + 1) * pixels, p.raw + n * pixels * s_.i, s_.i, expr);
      }
    });
  }

 private:
  struct Parts {
    float *patches, *raw;
  };
  size_t panel_floats() const { return kColumns * s_.o; }
  Parts take(Scratch& s) const {
    float* patches = s.floats(patches_.count() * patches_.length());
    return {patches, s.floats(s_.n * s_.h * s_.w * s_.i)};
  }
  ConvShape s_;
  Patches patches_;
  Tensor dy_, w_;
  Epilogue epilogue_;
  size_t threads_, panel_;
  decltype(&portable::gemm) gemm_;
  decltype(&portable::gemm_pack) pack_;
};

class PatchWeightGrad final : public Kernel {
 public:
  PatchWeightGrad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device)
      : s_(s),
        patches_(s),
        x_(x),
        dy_(dy),
        dw_(dw),
        threads_(static_cast<size_t>(device.threads)),
        panel_(panel_width(device.isa)),
        gemm_(CF_PICK(device.isa, gemm)),
        pack_(CF_PICK(device.isa, gemm_pack)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override { return patches_.count() * patches_.length() * sizeof(float); }
  size_t own_bytes() const override { return kColumns * patches_.count() * sizeof(float); }
  void run(const Run& run) const override {
    float* const patches = reinterpret_cast<float*>(run.scratch());
    const int threads = static_cast<int>(threads_);
    const float *x = run.f32(x_), *dy = run.f32(dy_);
    float* dw = run.f32(dw_);
    const size_t count = patches_.count(), k = patches_.length(), pieces = ceil_div(k, kColumns);
    parallel_for(threads, count, [&](size_t m) { patches_.gather(x, m, patches + m * k); });
    parallel_for(threads, threads_, [&](size_t slot) {
      float* const panels = run.own_floats(slot);
      for (size_t i = slot; i < pieces && !run.cancelled(); i += threads_) {
        const size_t first = i * kColumns, n = std::min(kColumns, k - first);
        pack_(patches + first, k, 1, count, n, panels);
        gemm_({&dy, 1, count, 1, s_.o, panels, count * panel_, panel_, dw + first, k, s_.o, n, nullptr, false});
      }
    });
  }

 private:
  ConvShape s_;
  Patches patches_;
  Tensor x_, dy_, dw_;
  size_t threads_, panel_;
  decltype(&portable::gemm) gemm_;
  decltype(&portable::gemm_pack) pack_;
};

}  // namespace

std::unique_ptr<Kernel> make_patch_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device) {
  return std::make_unique<PatchConv>(s, x, w, bias, std::move(epilogue), device);
}
std::unique_ptr<Kernel> make_patch_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device) {
  return std::make_unique<PatchDataGrad>(s, dy, w, std::move(epilogue), device);
}
std::unique_ptr<Kernel> make_patch_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device) {
  return std::make_unique<PatchWeightGrad>(s, x, dy, dw, device);
}

}  // namespace cf::cpu
