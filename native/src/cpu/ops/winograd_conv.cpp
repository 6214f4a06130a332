// Convolution (and gradient by the input) through Winograd's F(4×4, 3×3): transform blocks of input tiles, 36 products, transform back.
#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/split_products.h"
#include "cpu/kernels/winograd.h"
#include "cpu/ops/conv.h"
#include "cpu/ops/parallel.h"
#include "cpu/ops/winograd_tiles.h"

namespace cf::cpu {
namespace {

class WinogradConv final : public Kernel {
 public:
  WinogradConv(const Tensor& x, const Tensor& u, const Tensor* bias, Epilogue epilogue, size_t from, const Device& device)
      : x_(x),
        u_(u),
        bias_(bias ? *bias : Tensor{}),
        has_bias_(bias != nullptr),
        epilogue_(std::move(epilogue)),
        g_(epilogue_.grid()),
        from_(from),
        threads_(static_cast<size_t>(device.threads)),
        grid_{ceil_div(g_.rows, 4), ceil_div(g_.pixels, 4)},
        tiles_(g_.images * grid_.down * grid_.across),
        parts_(has_winograd_parts(u, from, g_.channels, device)),
        plan_(plan_winograd(tiles_, from, g_.channels, parts_, device)),
        panel_(panel_width(device.isa)),
        v_row_(odd_lines(from)),
        v_k_(odd_lines(plan_.tile_block * v_row_)),
        m_row_(odd_lines(round_up(plan_.out_block, 32))),
        m_k_(odd_lines(plan_.tile_block * m_row_)),
        input_(CF_PICK(device.isa, winograd_input)),
        output_(CF_PICK(device.isa, winograd_output)),
        gemm_(CF_PICK(device.isa, gemm)),
        split_(plan_.split ? CF_PICK(device.isa, split_products) : nullptr) {}

  size_t scratch_bytes() const override { return plan_.shared ? v_floats() * sizeof(float) : 0; }
  size_t own_bytes() const override {
    Scratch s;
    own(s);
    return s.used();
  }
  double flops() const override { return 18.0 * static_cast<double>(g_.all_pixels() * g_.channels) * static_cast<double>(from_); }

  void run(const Run& run) const override {
    const Job job{run.f32(x_), run.f32(u_), has_bias_ ? run.f32(bias_) : nullptr, epilogue_.bind(run)};
    const size_t out_blocks = ceil_div(g_.channels, plan_.out_block);
    if (plan_.shared) {
      float* const v = reinterpret_cast<float*>(run.scratch());
      for (size_t t0 = 0; t0 < tiles_ && !run.cancelled(); t0 += plan_.tile_block) {
        const size_t t1 = std::min(tiles_, t0 + plan_.tile_block);
        parallel_for(static_cast<int>(threads_), threads_, [&](size_t slot) {
          const Part part = part_of(t1 - t0, threads_, slot);
          transform(job, t0 + part.begin, t0 + part.end, v + part.begin * v_row_);
        });
        parallel_for(static_cast<int>(threads_), threads_, [&](size_t slot) {
          for (size_t b = slot; b < out_blocks && !run.cancelled(); b += threads_) product(job, t0, t1, b, v, own(run, slot));
        });
      }
      return;
    }
    const size_t blocks = block_count();
    parallel_units(static_cast<int>(threads_), blocks, [&](size_t slot, size_t k) {
      if (run.cancelled()) return;
      const Own mine = own(run, slot);
      const Part part = part_of(tiles_, blocks, k);
      transform(job, part.begin, part.end, mine.v);
      for (size_t b = 0; b < out_blocks; ++b) product(job, part.begin, part.end, b, mine.v, mine);
    });
  }

 private:
  struct Job {
    const float *x, *u, *bias;
    Epilogue::Bound bound;
  };
  struct Own {
    float *v, *m, *raw, *expr;  ///< v: where threads do not share it
    char* parts;
  };
  Own own(Scratch& s) const {
    float* const v = plan_.shared ? nullptr : s.floats(v_floats());
    float* const m = s.floats(36 * m_k_);
    float* const raw = s.floats(epilogue_.active() ? 4 * 4 * grid_.across * std::min(plan_.out_block, g_.channels) : 0);
    float* const expr = s.floats(epilogue_.scratch_floats());
    return {v, m, raw, expr, s.bytes(split_ ? split_products_bytes(plan_.tile_block, from_) : 0)};
  }
  Own own(const Run& run, size_t slot) const {
    Scratch s(run.own(slot));
    return own(s);
  }
  size_t v_floats() const { return 36 * v_k_; }

  // Blocks of at most tile_block tiles, as many as share out evenly between the threads.
  size_t block_count() const { return std::min(tiles_, round_up(ceil_div(tiles_, plan_.tile_block), threads_)); }

  void transform(const Job& job, size_t t0, size_t t1, float* v) const {
    const size_t h = g_.rows, w = g_.pixels;
    TileGrid::Place p = grid_.place(t0);
    for (size_t t = t0; t < t1; ++t) {
      const TileGrid::Place next = grid_.after(p);
      // What the next tile does not share with those above it and to its left.
      if (t + 1 < tiles_) ask_for_tile(job.x + next.image * h * w * from_, {h, w, from_}, next.row() + 1, next.pixel() + 1);
      const auto edge = [](size_t at, size_t size) { return static_cast<int>(std::min<size_t>(6, size + 1 - at)); };
      const WinogradTile tile{w * from_, from_, p.down == 0, edge(p.row(), h), p.across == 0, edge(p.pixel(), w)};
      const float* x = job.x + ((p.image * h + p.row()) * w + p.pixel()) * from_ - (w + 1) * from_;
      input_(x, tile, from_, v + (t - t0) * v_row_, v_k_, panel_);
      p = next;
    }
  }

  void product(const Job& job, size_t t0, size_t t1, size_t block, const float* v, const Own& mine) const {
    const size_t o0 = block * plan_.out_block, channels = std::min(plan_.out_block, g_.channels - o0);
    const size_t u_panel = round_up(from_, 16) * panel_, u_k = round_up(from_, 16) * round_up(g_.channels, 32);
    const float* const u = job.u + o0 / panel_ * u_panel;
    if (split_) {
      const char* const parts = parts_ ? reinterpret_cast<const char*>(job.u) : nullptr;
      split_({36, t1 - t0, from_, ceil_div(channels, 32), v, v_k_, v_row_, u, u_k, u_panel, parts, o0 / 32, ceil_div(g_.channels, 32), mine.m, m_k_, m_row_}, mine.parts);
    } else {
      for (size_t k = 0; k < 36; ++k) {
        const float *a = v + k * v_k_, *next = plan_.far && k + 1 < 36 ? u + (k + 1) * u_k : nullptr;
        gemm_({&a, 1, from_, v_row_, 1, u + k * u_k, u_panel, panel_, mine.m + k * m_k_, m_row_, t1 - t0, round_up(channels, panel_), nullptr, false, next});
      }
    }
    const float* bias = job.bias ? job.bias + o0 : nullptr;
    const size_t h = g_.rows, w = g_.pixels;
    TileGrid::Place p = grid_.place(t0);
    for (size_t t = t0; t < t1;) {
      // A run of neighbours in one row of tiles: its rows of pixels are contiguous, which the epilogue likes.
      const size_t count = std::min(t1 - t, grid_.across - p.across), y = p.row(), x = p.pixel();
      const size_t rows = std::min<size_t>(4, h - y), pixels = std::min(4 * count, w - x);
      float* to = epilogue_.active() ? mine.raw : job.bound.out[0] + ((p.image * h + y) * w + x) * epilogue_.result_pixel() + o0;
      const size_t pixel = epilogue_.active() ? channels : epilogue_.result_pixel(), row = epilogue_.active() ? pixels * pixel : w * pixel;
      for (size_t i = 0; i < count; ++i) {
        const WinogradTile tile{row, pixel, 0, static_cast<int>(rows), 0, static_cast<int>(std::min<size_t>(4, pixels - 4 * i))};
        output_(mine.m + (t - t0 + i) * m_row_, m_k_, channels, bias, to + 4 * i * pixel, tile);
      }
      if (epilogue_.active()) epilogue_.apply_rows(job.bound, p.image, y, rows, x, pixels, o0, channels, to, pixel, row, mine.expr);
      t += count;
      p = grid_.after({p.image, p.down, p.across + count - 1});
    }
  }

  Tensor x_, u_, bias_;
  bool has_bias_;
  Epilogue epilogue_;
  Grid g_;
  size_t from_, threads_;
  TileGrid grid_;
  size_t tiles_;
  bool parts_;
  WinogradPlan plan_;
  size_t panel_, v_row_, v_k_, m_row_, m_k_;
  decltype(&portable::winograd_input) input_;
  decltype(&portable::winograd_output) output_;
  decltype(&portable::gemm) gemm_;
  decltype(&portable::split_products) split_;
};

}  // namespace

WinogradPlan plan_winograd(size_t tiles, size_t summed, size_t produced, bool parts, const Device& device) {
  const size_t threads = static_cast<size_t>(device.threads), out_block = std::min<size_t>(128, round_up(produced, 32));
  const size_t bytes = 36 * sizeof(float) * summed * produced;
  constexpr size_t kFar = 10u << 20;
  const bool far = bytes > kFar;
  // Products of tiles are done sooner than their operands come from the third-level cache. Parts were asked for where they fit the second-level one, beside V
  // and M of as many tiles as fill the registers. Larger weights are read as float32, by as many tiles at once as pay for splitting them.
  if (parts) return {false, true, far, std::min<size_t>(tiles, 32), out_block};
  constexpr size_t kOutside = 1u << 20, kTall = 64;
  if (device.tiles() && tiles >= kTall / 2 && bytes > kOutside) {
    if (threads > 1 && tiles <= 2 * kTall && tiles < kTall * threads && produced >= 32 * threads)
      return {true, true, far, tiles, std::min<size_t>(128, round_up(ceil_div(produced, threads), 32))};
    return {false, true, far, std::min(tiles, kTall), out_block};
  }
  // Few tiles: every thread would stream all of U for a handful of rows, so they share the tiles and split U.
  if (threads > 1 && tiles < 12 * threads && produced >= 32 * threads)
    return {true, false, far, tiles, std::min<size_t>(128, round_up(ceil_div(produced, threads), 32))};
  // Larger blocks read U less often, smaller ones keep V and M in the second-level cache. Heights suit register tiles of 6 and of 14 rows. With AVX-512 one
  // register tile's height is best as long as U comes from the third-level cache (measured on Zen 4: 3 to 8 % for all smaller U, −20 % for larger ones).
  const bool wide = device.isa >= Isa::avx512;
  const size_t unit = !wide ? 24 : far ? 28 : 14;
  return {false, false, far, std::min(tiles, summed >= 192 && (far || !wide) ? 2 * unit : unit), out_block};
}

std::unique_ptr<Kernel> make_winograd_conv(const Tensor& x, const Tensor& u, const Tensor* bias, Epilogue epilogue, size_t from, const Device& device) {
  return std::make_unique<WinogradConv>(x, u, bias, std::move(epilogue), from, device);
}

}  // namespace cf::cpu
