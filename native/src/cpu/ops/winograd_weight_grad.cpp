// Gradient by the weights through Winograd's F(4×4, 3×3), the adjoint of winograd_conv.cpp: transform tiles of x and of dy, multiply them over tiles (36
// products), transform back to 3×3.
#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/winograd.h"
#include "cpu/ops/conv.h"
#include "cpu/ops/parallel.h"
#include "cpu/ops/winograd_tiles.h"

namespace cf::cpu {
namespace {

// Tiles per product: what a register tile reads of Z and V then stays near the first-level cache.
constexpr size_t kDepth = 256;
// Input channels of a piece of dU, where it is made piece by piece: a multiple of every panel's width.
constexpr size_t kPieceIn = 64;

class WinogradWeightGrad final : public Kernel {
 public:
  WinogradWeightGrad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device)
      : s_(s),
        x_(x),
        dy_(dy),
        dw_(dw),
        threads_(device.threads),
        panel_(panel_width(device.isa)),
        grid_{ceil_div(s.h, 4), ceil_div(s.w, 4)},
        tiles_(s.n * grid_.down * grid_.across),
        in_(round_up(s.i, panel_)),
        block_(s.o <= 48 ? 48 : s.o <= 64 ? 64 : 96),
        blocks_(ceil_div(s.o, block_)),
        apart_(works_apart()),
        chunk_(chunk()),
        chunks_(ceil_div(most_tiles(), chunk_)),
        in_pieces_(!apart_ && chunks_ == 1 && 36 * sizeof(float) * s.i * s.o > kWhole),
        v_k_(odd_lines(in_ * chunk_)),
        z_k_(odd_lines(blocks_ * block_ * chunk_)),
        m_row_(odd_lines(in_pieces_ ? kPieceIn : in_)),
        m_k_(odd_lines((in_pieces_ ? block_ : s.o) * m_row_)),
        input_(CF_PICK(device.isa, winograd_input)),
        adjoint_(CF_PICK(device.isa, winograd_output_adjoint)),
        back_(CF_PICK(device.isa, winograd_weights_adjoint)),
        gemm_(CF_PICK(device.isa, gemm)) {}

  size_t scratch_bytes() const override { return apart_ ? 0 : part_bytes(); }
  size_t own_bytes() const override { return apart_ ? part_bytes() : in_pieces_ ? 36 * m_k_ * sizeof(float) : 0; }
  double flops() const override { return s_.flops(); }

  void run(const Run& run) const override {
    const float *x = run.f32(x_), *dy = run.f32(dy_);
    float* dw = run.f32(dw_);
    if (apart_) return run_apart(run, x, dy, dw);
    const Parts p = parts_at(run.scratch());
    for (size_t c = 0; c < chunks_ && !run.cancelled(); ++c) {
      const Part part = part_of(tiles_, chunks_, c);
      const size_t count = part.end - part.begin;
      constexpr size_t kTiles = 4;
      parallel_for(threads_, ceil_div(count, kTiles), [&](size_t i) {
        for (size_t t = i * kTiles; t < std::min(count, (i + 1) * kTiles); ++t) transform(x, dy, part.begin + t, t, count, p);
      });
      if (in_pieces_) return pieces(run, p, dw);
      parallel_for(threads_, static_cast<size_t>(threads_), [&](size_t slot) {
        const Part own = part_of(36 * blocks_, static_cast<size_t>(threads_), slot);
        for (size_t i = own.begin; i < own.end && !run.cancelled(); ++i) band(p, count, i, c > 0);
      });
    }
    parallel_for(threads_, s_.o, [&](size_t o) { back_(at(p.m, 0, o), m_k_, s_.i, dw + o * s_.i * 9); });
  }

 private:
  // A larger dU of one chunk of tiles is made piece by piece, all 36 products of a piece together, so that it exists nowhere as a whole.
  static constexpr size_t kWhole = 24u << 20;

  struct Parts {
    float *v, *z, *m;
  };
  // Few channels: each thread makes a dU of its own from its own tiles, so that V and Z never leave its second-level cache and nobody waits for anybody until the
  // sums are added. What threads write for each other costs as much as the products there. With more channels, so many dU would.
  bool works_apart() const {
    constexpr size_t kBytes = 5u << 18, kFewest = 32;
    return 36 * sizeof(float) * s_.i * s_.o <= kBytes && tiles_ >= kFewest * static_cast<size_t>(threads_);
  }
  void run_apart(const Run& run, const float* x, const float* dy, float* dw) const {
    const size_t threads = static_cast<size_t>(threads_);
    parallel_for(threads_, threads, [&](size_t slot) {
      const Parts p = parts_at(run.own(slot));
      const Part tiles = part_of(tiles_, threads, slot);
      for (size_t c = 0; c < chunks_ && !run.cancelled(); ++c) {
        const Part own = part_of(tiles.end - tiles.begin, chunks_, c);
        const size_t count = own.end - own.begin;
        for (size_t t = 0; t < count; ++t) transform(x, dy, tiles.begin + own.begin + t, t, count, p);
        for (size_t i = 0; i < 36 * blocks_; ++i) band(p, count, i, c > 0);
      }
    });
    float* const sum = parts_at(run.own(0)).m;
    parallel_for(threads_, s_.o, [&](size_t o) {
      for (size_t slot = 1; slot < threads; ++slot) {
        const float* const other = parts_at(run.own(slot)).m;
        for (size_t k = 0; k < 36; ++k) {
          const float* const from = at(other, k, o);
          float* const to = at(sum, k, o);
          for (size_t i = 0; i < in_; ++i) to[i] += from[i];
        }
      }
      back_(at(sum, 0, o), m_k_, s_.i, dw + o * s_.i * 9);
    });
  }

  void pieces(const Run& run, const Parts& p, float* dw) const {
    const size_t across = ceil_div(s_.i, kPieceIn);
    parallel_units(threads_, blocks_ * across, [&](size_t slot, size_t unit) {
      if (run.cancelled()) return;
      float* const m = run.own_floats(slot);
      const size_t b = unit / across, i0 = unit % across * kPieceIn, o0 = b * block_;
      for (size_t k = 0; k < 36; ++k) product(p, tiles_, {k, b, i0, std::min(kPieceIn, in_ - i0)}, false, at(m, k, 0));
      for (size_t o = o0; o < std::min(s_.o, o0 + block_); ++o) back_(at(m, 0, o - o0), m_k_, std::min(kPieceIn, s_.i - i0), dw + (o * s_.i + i0) * 9);
    });
  }

  template <class T>
  T* at(T* m, size_t k, size_t row) const {
    return m + k * m_k_ + row * m_row_;
  }
  Parts take(Scratch& s) const {
    float* v = s.floats(36 * v_k_);
    float* z = s.floats(36 * z_k_);
    return {v, z, in_pieces_ ? nullptr : s.floats(36 * m_k_)};
  }

  Parts parts_at(char* memory) const {
    Scratch s(memory);
    return take(s);
  }
  size_t part_bytes() const {
    Scratch s;
    take(s);
    return s.used();
  }

  // Tiles that work on one dU.
  size_t most_tiles() const { return apart_ ? ceil_div(tiles_, static_cast<size_t>(threads_)) : tiles_; }

  // Tiles transformed together: where V and Z should stay in a second-level cache, few; else enough that going over dU once more does not show.
  size_t chunk() const {
    const size_t bytes = apart_ ? 5u << 17 : 8u << 20, per_tile = 36 * sizeof(float) * (in_ + blocks_ * block_);
    constexpr size_t kFewest = 64;
    return ceil_div(most_tiles(), ceil_div(most_tiles(), std::max(kFewest, bytes / per_tile)));
  }

  void transform(const float* x, const float* dy, size_t tile, size_t t, size_t count, const Parts& p) const {
    const size_t h = s_.h, w = s_.w;
    const TileGrid::Place at = grid_.place(tile);
    if (tile + 1 < tiles_) {
      const TileGrid::Place next = grid_.after(at);
      const size_t pixels = next.image * h * w;
      ask_for_tile(x + pixels * s_.i, {h, w, s_.i}, next.row() + 1, next.pixel() + 1);
      ask_for_tile(dy + pixels * s_.o, {h, w, s_.o}, next.row(), next.pixel());
    }
    const size_t row = at.row(), col = at.pixel();
    const auto edge = [](size_t most, size_t size, size_t at) { return static_cast<int>(std::min(most, size - at)); };
    const size_t pixel = (at.image * h + row) * w + col;
    const WinogradTile in{w * s_.i, s_.i, row == 0, edge(6, h + 1, row), col == 0, edge(6, w + 1, col)};
    input_(x + pixel * s_.i - (w + 1) * s_.i, in, s_.i, p.v + t * panel_, v_k_, count * panel_);
    const WinogradTile out{w * s_.o, s_.o, 0, edge(4, h, row), 0, edge(4, w, col)};
    for (size_t b = 0; b < blocks_; ++b)
      adjoint_(dy + pixel * s_.o + b * block_, out, std::min(block_, s_.o - b * block_), p.z + (b * count + t) * block_, z_k_);
  }

  // Product k of the 36: rows of a block of output channels, columns [column, column + columns).
  struct Window {
    size_t k, block, column, columns;
  };
  // A window of dU: the sum over tiles of Z_k·V_k.
  void product(const Parts& p, size_t count, const Window& w, bool accumulate, float* m) const {
    const size_t rows = std::min(block_, s_.o - w.block * block_);
    for (size_t t = 0; t < count; t += kDepth) {
      const float* a = p.z + w.k * z_k_ + (w.block * count + t) * block_;
      const float* b = p.v + w.k * v_k_ + w.column * count + t * panel_;
      gemm_({&a, 1, std::min(kDepth, count - t), 1, block_, b, count * panel_, panel_, m, m_row_, rows, w.columns, nullptr, accumulate || t > 0});
    }
  }
  // Band i of the 36·blocks_ of a whole dU. Those of one product follow each other, so that Z_k, V_k and dU_k come from afar once.
  void band(const Parts& p, size_t count, size_t i, bool accumulate) const {
    const size_t k = i / blocks_, block = i % blocks_;
    product(p, count, {k, block, 0, in_}, accumulate, at(p.m, k, block * block_));
  }

  ConvShape s_;
  Tensor x_, dy_, dw_;
  int threads_;
  size_t panel_;
  TileGrid grid_;
  size_t tiles_, in_;
  size_t block_, blocks_;  // of output channels in Z; a multiple of every vector width
  bool apart_;
  size_t chunk_, chunks_;
  bool in_pieces_;
  size_t v_k_, z_k_, m_row_, m_k_;
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
