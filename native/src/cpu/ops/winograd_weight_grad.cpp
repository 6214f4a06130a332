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

/// dU is computed in pieces of out × in channels, all 36 products of a piece together: few pieces where there are few channels, so that V and Z have no
/// empty columns.
struct Piece {
  size_t out;  ///< a multiple of every vector width
  size_t in;   ///< a multiple of every panel's width
};

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
        piece_{s.o <= 48 ? 48u : s.o <= 64 ? 64u : 96u, s.i <= 32 ? 32u : 64u},
        in_blocks_(ceil_div(s.i, piece_.in)),
        out_blocks_(ceil_div(s.o, piece_.out)),
        pieces_(in_blocks_ * out_blocks_),
        apart_(works_apart(s, tiles_, static_cast<size_t>(device.threads))),
        // When the pieces do not share out evenly, the products do.
        spread_(uneven(pieces_, static_cast<size_t>(device.threads))),
        chunk_(chunk()),
        chunks_(ceil_div(most_tiles(), chunk_)),
        v_k_(odd_lines(in_blocks_ * piece_.in * chunk_)),
        z_k_(odd_lines(out_blocks_ * piece_.out * chunk_)),
        m_row_(piece_.in),
        m_k_(odd_lines(piece_.out * m_row_)),
        input_(CF_PICK(device.isa, winograd_input)),
        adjoint_(CF_PICK(device.isa, winograd_output_adjoint)),
        back_(CF_PICK(device.isa, winograd_weights_adjoint)),
        gemm_(CF_PICK(device.isa, gemm)) {}

  size_t scratch_bytes() const override { return apart_ ? 0 : part_bytes(); }
  size_t own_bytes() const override { return apart_ ? part_bytes() : 0; }
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
      const bool last = c + 1 == chunks_;
      if (spread_) {
        parallel_for(threads_, threads_, [&](size_t slot) {
          const Part items = part_of(36 * pieces_, static_cast<size_t>(threads_), slot);
          for (size_t i = items.begin; i < items.end && !run.cancelled(); ++i) product(p, p.m + i / 36 * 36 * m_k_, i / 36, i % 36, count, c > 0);
        });
        if (last) parallel_for(threads_, s_.o, [&](size_t o) {
          for (size_t ib = 0; ib < in_blocks_; ++ib) finish(p.m + (o / piece_.out * in_blocks_ + ib) * 36 * m_k_, o, ib, dw);
        });
        continue;
      }
      parallel_for(threads_, threads_, [&](size_t slot) {
        for (size_t i = slot; i < pieces_ && !run.cancelled(); i += static_cast<size_t>(threads_)) {
          float* m = p.m + (keeps_all() ? i : slot) * 36 * m_k_;
          const size_t o0 = i / in_blocks_ * piece_.out;
          for (size_t k = 0; k < 36; ++k) product(p, m, i, k, count, c > 0);
          for (size_t o = o0; last && o < std::min(s_.o, o0 + piece_.out); ++o) finish(m, o, i % in_blocks_, dw);
        }
      });
    }
  }

 private:
  struct Parts {
    float *v, *z, *m;
  };
  // Few channels: each thread makes a dU of its own from its own tiles, so that V and Z never leave its second-level cache and nobody waits for anybody until the
  // sums are added. What threads write for each other costs as much as the products there. With more channels, so many dU would.
  static bool works_apart(const ConvShape& s, size_t tiles, size_t threads) {
    constexpr size_t kBytes = 5u << 18, kFewest = 32;
    return threads > 1 && 36 * sizeof(float) * s.i * s.o <= kBytes && tiles >= kFewest * threads;
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
        for (size_t i = 0; i < 36 * pieces_; ++i) product(p, p.m + i / 36 * 36 * m_k_, i / 36, i % 36, count, c > 0);
      }
    });
    const Parts first = parts_at(run.own(0));
    parallel_for(threads_, s_.o, [&](size_t o) {
      for (size_t ib = 0; ib < in_blocks_; ++ib) {
        const size_t piece = (o / piece_.out * in_blocks_ + ib) * 36 * m_k_, row = o % piece_.out * m_row_;
        for (size_t slot = 1; slot < threads; ++slot) {
          const Parts other = parts_at(run.own(slot));
          for (size_t k = 0; k < 36; ++k) {
            const float* const from = other.m + piece + k * m_k_ + row;
            float* const to = first.m + piece + k * m_k_ + row;
            for (size_t i = 0; i < piece_.in; ++i) to[i] += from[i];
          }
        }
        finish(first.m + piece, o, ib, dw);
      }
    });
  }

  static bool uneven(size_t pieces, size_t threads) { return round_up(pieces, threads) * 10 > pieces * 11; }
  // Does dU exist as a whole, or does each thread reuse the memory of one piece?
  bool keeps_all() const { return apart_ || chunks_ > 1 || spread_; }
  Parts take(Scratch& s) const {
    float* v = s.floats(36 * v_k_);
    float* z = s.floats(36 * z_k_);
    return {v, z, s.floats((keeps_all() ? pieces_ : static_cast<size_t>(threads_)) * 36 * m_k_)};
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

  // Tiles transformed together: few enough that V and Z are still near when they are multiplied, enough that going over dU once more does not show.
  size_t chunk() const {
    const size_t bytes = apart_ ? 5u << 17 : 2u << 20, per_tile = 36 * sizeof(float) * (in_blocks_ * piece_.in + out_blocks_ * piece_.out);
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
    const size_t block = piece_.out;
    for (size_t b = 0; b < out_blocks_; ++b)
      adjoint_(dy + pixel * s_.o + b * block, out, std::min(block, s_.o - b * block), p.z + (b * count + t) * block, z_k_);
  }

  // dU_k of a piece: sum over tiles of Z_k·V_k.
  void product(const Parts& p, float* m, size_t piece, size_t k, size_t count, bool accumulate) const {
    const size_t ob = piece / in_blocks_, ib = piece % in_blocks_;
    const size_t rows = std::min(piece_.out, s_.o - ob * piece_.out), cols = round_up(std::min(piece_.in, s_.i - ib * piece_.in), panel_);
    for (size_t t = 0; t < count; t += kDepth) {
      const float* a = p.z + k * z_k_ + (ob * count + t) * piece_.out;
      const float* b = p.v + k * v_k_ + ib * piece_.in * count + t * panel_;
      gemm_({&a, 1, std::min(kDepth, count - t), 1, piece_.out, b, count * panel_, panel_, m + k * m_k_, m_row_, rows, cols, nullptr, accumulate || t > 0});
    }
  }

  // dw[o] of a block of input channels; m: the piece that holds it.
  void finish(const float* m, size_t o, size_t ib, float* dw) const {
    const size_t i0 = ib * piece_.in;
    back_(m + o % piece_.out * m_row_, m_k_, std::min(piece_.in, s_.i - i0), dw + (o * s_.i + i0) * 9);
  }

  ConvShape s_;
  Tensor x_, dy_, dw_;
  int threads_;
  size_t panel_;
  TileGrid grid_;
  size_t tiles_;
  Piece piece_;
  size_t in_blocks_, out_blocks_, pieces_;
  bool apart_, spread_;
  size_t chunk_, chunks_, v_k_, z_k_, m_row_, m_k_;
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
