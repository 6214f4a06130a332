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
        columns_(round_up(s.taps() * s.i, 16)),
        images_(std::max<size_t>(1, kPixels / (s.h * s.w))),
        bands_(s.h * s.w <= kPixels ? 1 : ceil_div(s.h, std::max<size_t>(4 * s.kh, kPixels / s.w))),
        gemm_(CF_PICK(device.isa, gemm)),
        sum_taps_(CF_PICK(device.isa, sum_taps)) {}
  double flops() const override { return s_.flops(); }
  size_t scratch_bytes() const override { return round_up(columns_, panel_) * s_.o * sizeof(float); }
  size_t own_bytes() const override {
    Scratch s;
    own(s);
    return s.used();
  }
  void run(const Run& run) const override {
    float* const panels = reinterpret_cast<float*>(run.scratch());
    const float *dy = run.f32(dy_), *w = run.f32(w_);
    const Epilogue::Bound bound = epilogue_.bind(run);
    // Column tap·I + i of row o; w has i·taps + tap.
    for (size_t j = 0; j < round_up(columns_, panel_); ++j) {
      float* to = panels + j / panel_ * panel_ * s_.o + j % panel_;
      const size_t tap = j / s_.i, i = j % s_.i;
      for (size_t o = 0; o < s_.o; ++o) to[o * panel_] = tap < s_.taps() ? w[(o * s_.i + i) * s_.taps() + tap] : 0;
    }
    // Products of some rows of dy stay near until they are summed; rows that two bands need are multiplied twice.
    parallel_units(threads_, ceil_div(s_.n, images_) * bands_, [&](size_t slot, size_t unit) {
      if (run.cancelled()) return;
      Scratch scratch(run.own(slot));
      const Own mine = own(scratch);
      const size_t image = unit / bands_ * images_, images = std::min(images_, s_.n - image);
      const Part rows = part_of(s_.h, bands_, unit % bands_), down = reaching(rows);
      const size_t height = down.end - down.begin;
      const float* a = dy + (image * s_.oh + down.begin) * s_.ow * s_.o;
      gemm_({&a, 1, s_.o, s_.o, 1, panels, s_.o * panel_, panel_, mine.products, columns_, images * height * s_.ow, columns_, nullptr, false});
      for (size_t n = 0; n < images; ++n)
        for (size_t y = rows.begin; y < rows.end; ++y)
          gather(mine.products + n * height * s_.ow * columns_, down, y, mine.rows, mine.raw + (n * s_.h + y - rows.begin) * s_.w * s_.i);
      const size_t first = (image * s_.h + rows.begin) * s_.w, count = (images - 1) * s_.h + rows.end - rows.begin;
      epilogue_.apply_flat(bound, first, first + count * s_.w, mine.raw, s_.i, mine.expr);
    });
  }

 private:
  // Pixels of x that a thread works on at once: small images together, large ones in bands of rows.
  static constexpr size_t kPixels = 512;
  struct Own {
    float *products, *raw, *expr;
    const float** rows;
  };
  // Rows of dy that reach some rows of x; of whole images all, so that those of several follow each other.
  Part reaching(Part rows) const {
    if (bands_ == 1) return {0, s_.oh};
    const size_t above = rows.begin + s_.padding + 1;
    return {above > s_.kh ? ceil_div(above - s_.kh, s_.stride) : 0, std::min(s_.oh, (rows.end - 1 + s_.padding) / s_.stride + 1)};
  }
  size_t most_rows() const { return ceil_div(s_.h, bands_); }
  size_t product_floats() const {
    const size_t height = bands_ == 1 ? s_.oh : std::min(s_.oh, (most_rows() + s_.kh - 1) / s_.stride + 1);
    return images_ * height * s_.ow * columns_ + panel_;  // sum_taps reads on
  }
  Own own(Scratch& s) const {
    float* const products = s.floats(product_floats());
    float* const raw = s.floats(images_ * most_rows() * s_.w * s_.i);
    float* const expr = s.floats(epilogue_.scratch_floats());
    return {products, raw, expr, reinterpret_cast<const float**>(s.bytes(s_.kh * sizeof(float*)))};
  }

  // One row of dx: the sum of the taps that reach it. Products: of the rows `down` of dy.
  void gather(const float* products, Part down, size_t y, const float** rows, float* to) const {
    size_t count = 0;
    for (size_t ky = 0; ky < s_.kh; ++ky) {
      const size_t at = y + s_.padding - ky;  // = oy·stride; wraps around when negative
      if (y + s_.padding < ky || at % s_.stride != 0 || at / s_.stride >= s_.oh) continue;
      rows[count++] = products + (at / s_.stride - down.begin) * s_.ow * columns_ + ky * s_.kw * s_.i;
    }
    sum_taps_({rows, count, columns_, s_.ow, s_.kw, s_.i, s_.stride, s_.padding}, s_.w, to);
  }

  ConvShape s_;
  Tensor dy_, w_;
  Epilogue epilogue_;
  int threads_;
  size_t panel_, columns_, images_, bands_;
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
