// Direct convolution as products of rows of the (padded) images: pixel j of an output row needs kw·I contiguous floats per kernel row, stride·I further
// for the next pixel. So the images themselves are the matrix, and nothing is unrolled.
#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/ops/conv_direct.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

constexpr size_t kMaxKernel = 64;  // check_conv's bound
constexpr size_t kWaiting = 2048;  // floats
constexpr size_t kUnits = 8;       // units of work per thread
constexpr size_t kPixels = 84;     // pixels of a piece of work: 14 tiles of 6 rows, 6 of 14

// Rows (ky, kx, i) of w [O, I, kh, kw] as a matrix [kh·kw·I, O] in panels. `turned`: w is [I, O, 1, 1].
void pack_taps(const ConvShape& s, const float* w, bool turned, size_t panel, size_t which, float* to) {
  const size_t k = s.taps() * s.i, o0 = which * panel;
  float* p = to + o0 * k;
  for (size_t t = 0; t < s.taps(); ++t)
    for (size_t i = 0; i < s.i; ++i, p += panel)
      for (size_t o = 0; o < panel; ++o) p[o] = o0 + o >= s.o ? 0 : turned ? w[i * s.o + o0 + o] : w[((o0 + o) * s.i + i) * s.taps() + t];
}

class RowConv final : public Kernel {
 public:
  RowConv(const ConvShape& s, const Tensor& x, const Tensor& w, bool turned, const Tensor* bias, Epilogue epilogue, const Device& device)
      : s_(s),
        turned_(turned),
        x_(x),
        w_(w),
        bias_(bias ? *bias : Tensor{}),
        has_bias_(bias != nullptr),
        epilogue_(std::move(epilogue)),
        threads_(device.threads),
        panel_(panel_width(device.isa)),
        gemm_(CF_PICK(device.isa, gemm)) {
    // A 1×1 convolution has no neighbours: all pixels are one row.
    if (s.kh == 1 && s.kw == 1 && s.stride == 1 && s.padding == 0) s_.w = s_.ow = s.n * s.h * s.w, s_.n = s_.h = s_.oh = 1;
  }
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  size_t own_bytes() const override { return (raw_floats() + epilogue_.scratch_floats()) * sizeof(float); }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const float *x = run.f32(x_), *w = run.f32(w_), *bias = has_bias_ ? run.f32(bias_) : nullptr;
    const Epilogue::Bound bound = epilogue_.bind(run);
    const size_t panels = ceil_div(s_.o, panel_), images = s_.padding ? s_.n : 0;
    parallel_for(threads_, panels + images, [&](size_t i) {
      if (i < panels)
        pack_taps(s_, w, turned_, panel_, i, p.panels);
      else
        pad_image(s_, x, i - panels, p.padded);
    });
    const PaddedImages padded(s_);
    const float* from = s_.padding ? p.padded : x;
    const size_t pieces = ceil_div(s_.ow, kPixels), items = s_.n * s_.oh * pieces, units = std::min(items, kUnits * static_cast<size_t>(threads_));
    parallel_units(threads_, units, [&](size_t slot, size_t unit) {
      const Part part = part_of(items, units, unit);
      float* const spare = run.own_floats(slot);
      const bool direct = !epilogue_.active();
      // Results wait in `spare` for the epilogue until there are enough of them: rows of small images are short.
      size_t first = 0, held = 0;
      const auto flush = [&] {
        if (held) epilogue_.apply_flat(bound, first, first + held, spare, s_.o, spare + raw_floats());
        held = 0;
      };
      for (size_t item = part.begin; item < part.end && !run.cancelled(); ++item) {
        const size_t row = item / pieces, image = row / s_.oh, y = row % s_.oh;
        const Part px = part_of(s_.ow, pieces, item % pieces);
        const size_t pixel = row * s_.ow + px.begin, count = px.end - px.begin;
        const float* a[kMaxKernel];
        for (size_t k = 0; k < s_.kh; ++k) a[k] = from + ((image * padded.h + y * s_.stride + k) * padded.w + px.begin * s_.stride) * s_.i;
        if (held + count > room()) flush();
        if (held == 0) first = pixel;
        float* to = direct ? bound.out[0] + pixel * epilogue_.result_pixel() : spare + held * s_.o;
        const size_t to_pixel = direct ? epilogue_.result_pixel() : s_.o, k = s_.taps() * s_.i;
        gemm_({a, s_.kh, s_.kw * s_.i, s_.stride * s_.i, 1, p.panels, k * panel_, panel_, to, to_pixel, count, s_.o, bias, false});
        if (!direct) held += count;
      }
      flush();
    });
  }

 private:
  struct Parts {
    float *panels, *padded;
  };
  // Pixels that wait for the epilogue at most: a piece of a row, or more as long as they stay in the first-level cache.
  size_t room() const { return std::max(std::min(kPixels, s_.ow), kWaiting / s_.o); }
  size_t raw_floats() const { return epilogue_.active() ? round_up(room() * s_.o, 16) : 0; }
  Parts take(Scratch& s) const {
    float* panels = s.floats(round_up(s_.o, panel_) * s_.taps() * s_.i);
    return {panels, s.floats(PaddedImages(s_).floats)};
  }

  ConvShape s_;
  bool turned_;
  Tensor x_, w_, bias_;
  bool has_bias_;
  Epilogue epilogue_;
  int threads_;
  size_t panel_;
  decltype(&portable::gemm) gemm_;
};

}  // namespace

std::unique_ptr<Kernel> make_row_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device) {
  return std::make_unique<RowConv>(s, x, w, false, bias, std::move(epilogue), device);
}

std::unique_ptr<Kernel> make_pixel_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device) {
  const ConvShape turned{s.n, s.oh, s.ow, s.o, s.i, 1, 1, s.h, s.w, 1, 0};
  return std::make_unique<RowConv>(turned, dy, w, true, nullptr, std::move(epilogue), device);
}

}  // namespace cf::cpu
