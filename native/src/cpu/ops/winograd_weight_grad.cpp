// Gradient by the weights through Winograd's F(4×4, 3×3), the adjoint of winograd_conv.cpp: transform tiles of x and of dy, multiply them over tiles (36
// products), transform back to 3×3.
#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/winograd.h"
#include "cpu/ops/conv.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

// One piece of dU is 36 × kOut × kIn floats (221 KB): it stays in the second-level cache until it is transformed back.
constexpr size_t kOut = 48;  // a multiple of every register tile's height and vector width
constexpr size_t kIn = 32;
// Tiles per product: what a register tile reads of Z and V (two cache lines and a panel's row per tile) then fits the first-level cache.
constexpr size_t kDepth = 128;

class WinogradWeightGrad final : public Kernel {
 public:
  WinogradWeightGrad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device)
      : s_(s),
        x_(x),
        dy_(dy),
        dw_(dw),
        threads_(device.threads),
        panel_(panel_width(device.isa)),
        down_(ceil_div(s.h, 4)),
        across_(ceil_div(s.w, 4)),
        tiles_(s.n * down_ * across_),
        in_blocks_(ceil_div(s.i, kIn)),
        out_blocks_(ceil_div(s.o, kOut)),
        chunk_(chunk(device)),
        chunks_(ceil_div(tiles_, chunk_)),
        v_k_(odd_lines(in_blocks_ * kIn * chunk_)),
        z_k_(odd_lines(out_blocks_ * kOut * chunk_)),
        m_row_(odd_lines(kIn)),
        m_k_(odd_lines(kOut * m_row_)),
        input_(CF_PICK(device.isa, winograd_input)),
        adjoint_(CF_PICK(device.isa, winograd_output_adjoint)),
        back_(CF_PICK(device.isa, winograd_weights_adjoint)),
        gemm_(CF_PICK(device.isa, gemm)) {}

  size_t scratch_bytes() const override {
    Scratch s;
    take(s);
    return s.used();
  }
  double flops() const override { return s_.flops(); }

  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Parts p = take(scratch);
    const float *x = run.f32(x_), *dy = run.f32(dy_);
    float* dw = run.f32(dw_);
    const size_t pieces = in_blocks_ * out_blocks_;
    for (size_t c = 0; c < chunks_ && !run.cancelled(); ++c) {
      const Part part = part_of(tiles_, chunks_, c);
      const size_t count = part.end - part.begin;
      constexpr size_t kTiles = 4;
      parallel_for(threads_, ceil_div(count, kTiles), [&](size_t i) {
        for (size_t t = i * kTiles; t < std::min(count, (i + 1) * kTiles); ++t) transform(x, dy, part.begin + t, t, count, p);
      });
      parallel_for(threads_, pieces, [&](size_t i) {
        if (run.cancelled()) return;
        // With one chunk the pieces need no memory of their own: each thread reuses one. (Static scheduling of 1: piece i belongs to thread i mod threads.)
        float* m = p.m + (chunks_ > 1 ? i : i % static_cast<size_t>(threads_)) * 36 * m_k_;
        product(p, m, i, count, c > 0);
        if (c + 1 == chunks_) finish(m, i, dw);
      });
    }
  }

 private:
  struct Parts {
    float *v, *z, *m;
  };
  Parts take(Scratch& s) const {
    const size_t pieces = in_blocks_ * out_blocks_, threads = static_cast<size_t>(threads_);
    float* v = s.floats(36 * v_k_);
    float* z = s.floats(36 * z_k_);
    return {v, z, s.floats((chunks_ > 1 ? pieces : std::min(pieces, threads)) * 36 * m_k_)};
  }

  // Tiles transformed together: all, unless V and Z would outgrow the last-level cache.
  size_t chunk(const Device& device) const {
    const size_t per_tile = 36 * sizeof(float) * (in_blocks_ * kIn + out_blocks_ * kOut);
    const size_t most = std::max<size_t>(64, std::min<size_t>(device.l3_bytes / 2, 24u << 20) / per_tile);
    return ceil_div(tiles_, ceil_div(tiles_, most));
  }

  void transform(const float* x, const float* dy, size_t tile, size_t t, size_t count, const Parts& p) const {
    const size_t h = s_.h, w = s_.w, image = tile / (down_ * across_), row = tile / across_ % down_ * 4, col = tile % across_ * 4;
    const auto edge = [](size_t most, size_t size, size_t at) { return static_cast<int>(std::min(most, size - at)); };
    const size_t pixel = (image * h + row) * w + col;
    const WinogradTile in{w * s_.i, s_.i, row == 0, edge(6, h + 1, row), col == 0, edge(6, w + 1, col)};
    input_(x + pixel * s_.i - (w + 1) * s_.i, in, s_.i, p.v + t * panel_, v_k_, count * panel_);
    const WinogradTile out{w * s_.o, s_.o, 0, edge(4, h, row), 0, edge(4, w, col)};
    for (size_t b = 0; b < out_blocks_; ++b)
      adjoint_(dy + pixel * s_.o + b * kOut, out, std::min(kOut, s_.o - b * kOut), p.z + (b * count + t) * kOut, z_k_);
  }

  void product(const Parts& p, float* m, size_t piece, size_t count, bool accumulate) const {
    const size_t ob = piece / in_blocks_, ib = piece % in_blocks_;
    const size_t rows = std::min(kOut, s_.o - ob * kOut), cols = round_up(std::min(kIn, s_.i - ib * kIn), panel_);
    for (size_t k = 0; k < 36; ++k)
      for (size_t t = 0; t < count; t += kDepth) {
        const float* a = p.z + k * z_k_ + (ob * count + t) * kOut;
        const float* b = p.v + k * v_k_ + ib * kIn * count + t * panel_;
        gemm_({&a, 1, std::min(kDepth, count - t), 1, kOut, b, count * panel_, panel_, m + k * m_k_, m_row_, rows, cols, nullptr, accumulate || t > 0});
      }
  }

  void finish(const float* m, size_t piece, float* dw) const {
    const size_t o0 = piece / in_blocks_ * kOut, i0 = piece % in_blocks_ * kIn;
    for (size_t o = o0; o < std::min(s_.o, o0 + kOut); ++o) back_(m + (o - o0) * m_row_, m_k_, std::min(kIn, s_.i - i0), dw + (o * s_.i + i0) * 9);
  }

  ConvShape s_;
  Tensor x_, dy_, dw_;
  int threads_;
  size_t panel_, down_, across_, tiles_, in_blocks_, out_blocks_, chunk_, chunks_, v_k_, z_k_, m_row_, m_k_;
  decltype(&portable::winograd_input) input_;
  decltype(&portable::winograd_output_adjoint) adjoint_;
  decltype(&portable::winograd_weights_adjoint) back_;
  decltype(&portable::gemm) gemm_;
};

}  // namespace

std::unique_ptr<Kernel> make_winograd_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device) {
  return std::make_unique<WinogradWeightGrad>(s, x, dy, dw, device);
}

}  // namespace cf::cpu
