// Gradients of direct convolutions whose x has few channels.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/taps.h"
#include "cpu/ops/conv_direct.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

class TapDataGrad final : public Kernel {
 public:
  TapDataGrad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device)
      : s_(s),
        dy_(dy),
        w_(w),
        epilogue_(std::move(epilogue)),
        threads_(device.threads),
        panel_(panel_width(device.isa)),
        columns_(round_up(s.taps() * s.i, panel_)),
        gemm_(CF_PICK(device.isa, gemm)),
        sum_taps_(CF_PICK(device.isa, sum_taps)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const float *dy = run.f32(dy_), *w = run.f32(w_);
    const Epilogue::Bound bound = epilogue_.bind(run);
    // Column tap·I + i of row o; w has i·taps + tap.
    for (size_t j = 0; j < columns_; ++j) {
      float* to = p.panels + j / panel_ * panel_ * s_.o + j % panel_;
      const size_t tap = j / s_.i, i = j % s_.i;
      for (size_t o = 0; o < s_.o; ++o) to[o * panel_] = tap < s_.taps() ? w[(o * s_.i + i) * s_.taps() + tap] : 0;
    }
    constexpr size_t kPixels = 84;
    const size_t pixels = s_.n * s_.oh * s_.ow;
    parallel_for(threads_, ceil_div(pixels, kPixels), [&](size_t i) {
      if (run.cancelled()) return;
      const size_t first = i * kPixels, count = std::min(kPixels, pixels - first);
      const float* a = dy + first * s_.o;
      gemm_({&a, 1, s_.o, s_.o, 1, p.panels, s_.o * panel_, panel_, p.products + first * columns_, columns_, count, columns_, nullptr, false});
    });
    parallel_units(threads_, ceil_div(s_.n * s_.h, rows_at_once()), [&](size_t slot, size_t unit) {
      if (run.cancelled()) return;
      float* raw = p.slots + slot * slot_floats();
      const size_t row = unit * rows_at_once(), rows = std::min(s_.n * s_.h - row, rows_at_once());
      for (size_t i = 0; i < rows; ++i) gather(p.products, (row + i) / s_.h, (row + i) % s_.h, p.rows + slot * s_.kh, raw + i * s_.w * s_.i);
      epilogue_.apply_flat(bound, row * s_.w, (row + rows) * s_.w, raw, s_.i, raw + raw_floats());
    });
  }

 private:
  struct Parts {
    float *panels, *products, *slots;
    const float** rows;
  };
  // Rows of small images are short: several share a call of the epilogue.
  size_t rows_at_once() const { return std::max<size_t>(1, 1024 / (s_.w * s_.i)); }
  size_t raw_floats() const { return round_up(rows_at_once() * s_.w * s_.i, 16); }
  size_t slot_floats() const { return raw_floats() + round_up(epilogue_.scratch_floats(), 16); }
  Parts take(Scratch& s) const {
    float* panels = s.floats(columns_ * s_.o);
    float* products = s.floats(s_.n * s_.oh * s_.ow * columns_ + panel_);  // sum_taps reads on
    const size_t threads = static_cast<size_t>(threads_);
    float* slots = s.floats(threads * slot_floats());
    return {panels, products, slots, reinterpret_cast<const float**>(s.bytes(threads * s_.kh * sizeof(float*)))};
  }

  // One row of dx: the sum of the taps that reach it.
  void gather(const float* products, size_t image, size_t y, const float** rows, float* to) const {
    size_t count = 0;
    for (size_t ky = 0; ky < s_.kh; ++ky) {
      const size_t down = y + s_.padding - ky;  // = oy·stride; wraps around when negative
      if (y + s_.padding < ky || down % s_.stride != 0 || down / s_.stride >= s_.oh) continue;
      rows[count++] = products + (image * s_.oh + down / s_.stride) * s_.ow * columns_ + ky * s_.kw * s_.i;
    }
    sum_taps_({rows, count, columns_, s_.ow, s_.kw, s_.i, s_.stride, s_.padding}, s_.w, to);
  }

  ConvShape s_;
  Tensor dy_, w_;
  Epilogue epilogue_;
  int threads_;
  size_t panel_, columns_;
  decltype(&portable::gemm) gemm_;
  decltype(&portable::sum_taps) sum_taps_;
};

class RowWeightGrad final : public Kernel {
 public:
  RowWeightGrad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device)
      : s_(s), x_(x), dy_(dy), dw_(dw), threads_(device.threads), panel_(panel_width(device.isa)), gemm_(CF_PICK(device.isa, gemm)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const float *x = run.f32(x_), *dy = run.f32(dy_);
    const size_t threads = static_cast<size_t>(threads_), rows = s_.n * s_.oh, size = s_.taps() * s_.i * s_.o;
    if (s_.padding) parallel_for(threads_, s_.n, [&](size_t n) { pad_image(s_, x, n, p.padded); });
    const float* from = s_.padding ? p.padded : x;
    const PaddedImages padded(s_);
    parallel_for(threads_, threads, [&](size_t slot) {
      const Part part = part_of(rows, threads, slot);
      float* sum = p.sums + slot * size;
      const float** a = p.rows + slot * s_.oh;
      if (part.begin == part.end) std::memset(sum, 0, size * sizeof(float));
      for (size_t row = part.begin; row < part.end && !run.cancelled();) {
        const size_t image = row / s_.oh, y = row % s_.oh, count = std::min(part.end - row, s_.oh - y);
        for (size_t ky = 0; ky < s_.kh; ++ky) {
          for (size_t r = 0; r < count; ++r) a[r] = from + (image * padded.h + (y + r) * s_.stride + ky) * padded.w * s_.i;
          gemm_({a, count, s_.ow, 1, s_.stride * s_.i, dy + row * s_.ow * s_.o, panel_, s_.o, sum + ky * s_.kw * s_.i * s_.o, s_.o, s_.kw * s_.i, s_.o, nullptr,
                 row > part.begin});
        }
        row += count;
      }
    });
    float* dw = run.f32(dw_);
    for (size_t o = 0; o < s_.o; ++o)
      for (size_t i = 0; i < s_.i; ++i)
        for (size_t t = 0; t < s_.taps(); ++t) {
          float total = 0;
          for (size_t slot = 0; slot < threads; ++slot) total += p.sums[slot * size + (t * s_.i + i) * s_.o + o];
          dw[(o * s_.i + i) * s_.taps() + t] = total;
        }
  }

 private:
  struct Parts {
    float *padded, *sums;
    const float** rows;
  };
  Parts take(Scratch& s) const {
    const size_t threads = static_cast<size_t>(threads_);
    float* padded = s.floats(PaddedImages(s_).floats);
    float* sums = s.floats(threads * s_.taps() * s_.i * s_.o);
    return {padded, sums, reinterpret_cast<const float**>(s.bytes(threads * s_.oh * sizeof(float*)))};
  }

  ConvShape s_;
  Tensor x_, dy_, dw_;
  int threads_;
  size_t panel_;
  decltype(&portable::gemm) gemm_;
};

}  // namespace

std::unique_ptr<Kernel> make_tap_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device) {
  return std::make_unique<TapDataGrad>(s, dy, w, std::move(epilogue), device);
}
std::unique_ptr<Kernel> make_row_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device) {
  return std::make_unique<RowWeightGrad>(s, x, dy, dw, device);
}

}  // namespace cf::cpu
