// Batched matrix product by register tiles (gemm.h): B is packed into panels, pieces of C are shared out, and the epilogue follows each piece.
#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/ops/epilogue.h"
#include "cpu/ops/parallel.h"
#include "program/checks.h"

namespace cf::cpu {
namespace {

// Rows of B per pass: a panel (16 KB with AVX2, 32 KB with AVX-512) stays in the first-level cache; half of that where A is read across its rows, because
// then each row of a register tile costs a cache line.
constexpr size_t kDepth = 256;
constexpr size_t kRows = 84;     // rows of C in a piece: 14 register tiles of 6 rows, 6 of 14; with kDepth columns of A 84 KB, in the second-level cache
constexpr size_t kCols = 384;    // columns of C in a piece of a product that packs B piece by piece
// A sum at least kSplit long is itself cut into one part per thread, where there are too few pieces of C for the threads or C has at most kSmall elements:
// each thread then reads rows of A and B that it mostly made itself, and nobody reads them twice.
constexpr size_t kSplit = 2048, kSmall = 96 * 128;

struct Matrix {
  Tensor tensor;
  size_t batch, row, col;  // strides
};

struct Sizes {
  size_t batch, m, n, k;
};

class Matmul final : public Kernel {
 public:
  Matmul(const Sizes& s, const Matrix& a, const Matrix& b, const Tensor* bias, Epilogue epilogue, const Device& device)
      : s_(s),
        a_(a),
        b_(b),
        bias_(bias ? *bias : Tensor{}),
        has_bias_(bias != nullptr),
        epilogue_(std::move(epilogue)),
        threads_(static_cast<size_t>(device.threads)),
        panel_(panel_width(device.isa)),
        depth_(a.col == 1 ? kDepth : kDepth / 2),
        // Packing all of B first pays when many pieces of C read it; else each piece packs what it is about to use, and that is still in cache.
        packed_first_(s.m > 4 * kRows && s.k * s.n <= (1u << 20)),
        batches_b_(b.batch == 0 ? 1 : s.batch),
        gemm_(CF_PICK(device.isa, gemm)),
        pack_(CF_PICK(device.isa, gemm_pack)) {
    const auto pieces = [&] { return s.batch * ceil_div(s.m, rows_) * ceil_div(s.n, cols_); };
    if (packed_first_) {
      // Two pieces per thread, so that a last short one does not leave half of the threads idle.
      cols_ = s.n;
      rows_ = std::min(kRows, round_up(ceil_div(s.m, ceil_div(2 * threads_, s.batch)), 6));
    } else {
      // Columns are cut before rows, because every piece of the same columns packs the same part of B; but not where whole panels do not share out evenly.
      rows_ = std::min(s.m, 4 * kRows);
      cols_ = std::min(s.n, kCols);
      const size_t panels = ceil_div(s.n, panel_), most = ceil_div(panels, threads_);
      if (pieces() < threads_ && panels * 10 <= most * threads_ * 9 && s.m >= 12 * threads_) rows_ = round_up(ceil_div(s.m, threads_), 2);
      while (pieces() < threads_ && cols_ > panel_) cols_ = round_up(cols_ / 2, panel_);
      while (pieces() < threads_ && rows_ > 6) rows_ = round_up(rows_ / 2, 6);
    }
    row_pieces_ = ceil_div(s.m, rows_);
    col_pieces_ = ceil_div(s.n, cols_);
    splits_ = s.k >= kSplit && (pieces() < threads_ || (!packed_first_ && s.batch * s.m * s.n <= kSmall)) ? threads_ : 1;
    if (splits_ > 1) rows_ = s.m, row_pieces_ = 1, cols_ = s.n, col_pieces_ = 1, packed_first_ = false;
  }

  double flops() const override { return 2.0 * static_cast<double>(s_.batch * s_.m * s_.n) * static_cast<double>(s_.k); }
  size_t scratch_bytes() const override { return packed_first_ ? batches_b_ * packed_floats() * sizeof(float) : 0; }
  size_t own_bytes() const override {
    Scratch s;
    own(s);
    return s.used();
  }

  void run(const Run& run) const override {
    Job job{run.f32(a_.tensor), run.f32(b_.tensor), has_bias_ ? run.f32(bias_) : nullptr, epilogue_.bind(run)};
    const int threads = static_cast<int>(threads_);
    if (packed_first_) {
      float* const packed = reinterpret_cast<float*>(run.scratch());
      const size_t panels = ceil_div(s_.n, panel_);
      parallel_for(threads, batches_b_ * panels, [&](size_t i) {
        const size_t batch = i / panels, j = i % panels * panel_;
        pack_(job.b + batch * b_.batch + j * b_.col, b_.row, b_.col, s_.k, std::min(panel_, s_.n - j), packed + batch * packed_floats() + j * s_.k);
      });
      job.b = packed;
    }
    if (splits_ > 1) return run_split(run, job);
    const size_t items = s_.batch * row_pieces_ * col_pieces_;
    parallel_units(threads, items, [&](size_t slot, size_t item) {
      if (run.cancelled()) return;
      const Own mine = own(run, slot);
      const size_t batch = item / (row_pieces_ * col_pieces_);
      const Part rows = part_of(s_.m, row_pieces_, item / col_pieces_ % row_pieces_), cols = part_of(s_.n, col_pieces_, item % col_pieces_, panel_);
      const bool direct = !epilogue_.active();
      float* c = direct ? job.bound.out[0] + batch * result_batch() + rows.begin * epilogue_.result_pixel() + cols.begin : mine.raw;
      const size_t ldc = direct ? epilogue_.result_pixel() : cols.end - cols.begin;
      product(job, batch, rows, cols, {0, s_.k}, c, ldc, job.bias, mine.pass);
      if (!direct) epilogue_.apply(job.bound, batch, 0, rows.begin, rows.end - rows.begin, cols.begin, cols.end - cols.begin, c, ldc, mine.epilogue);
    });
  }

 private:
  struct Job {
    const float *a, *b, *bias;
    Epilogue::Bound bound;
  };
  struct Own {
    float *raw, *epilogue, *pass;
  };
  size_t packed_floats() const { return round_up(s_.n, panel_) * s_.k; }
  size_t result_batch() const { return s_.batch == 1 ? 0 : epilogue_.result().strides[0]; }
  Own own(Scratch& s) const {
    float* const raw = s.floats(splits_ > 1 ? s_.batch * s_.m * s_.n : epilogue_.active() ? rows_ * cols_ : 0);
    float* const epilogue = s.floats(epilogue_.scratch_floats());
    return {raw, epilogue, s.floats(packed_first_ ? 0 : depth_ * round_up(cols_, panel_))};
  }
  Own own(const Run& run, size_t slot) const {
    Scratch s(run.own(slot));
    return own(s);
  }

  // C[rows, cols] = A[rows, depth]·B[depth, cols] (+ bias), in passes of at most depth_; `pass` has room for one of B.
  void product(const Job& job, size_t batch, Part rows, Part cols, Part depth, float* c, size_t ldc, const float* bias, float* pass) const {
    const size_t length = depth.end - depth.begin, passes = std::max<size_t>(1, ceil_div(length, depth_)), n = cols.end - cols.begin;
    for (size_t i = 0; i < passes; ++i) {
      const Part part = part_of(length, passes, i);
      const size_t k = part.end - part.begin, first = depth.begin + part.begin;
      const float* a = job.a + batch * a_.batch + rows.begin * a_.row + first * a_.col;
      const float* b = job.b + (b_.batch ? batch * packed_floats() : 0) + cols.begin * s_.k + first * panel_;
      size_t b_panel = s_.k * panel_;
      if (!packed_first_) {
        pack_(job.b + batch * b_.batch + first * b_.row + cols.begin * b_.col, b_.row, b_.col, k, n, pass);
        b = pass, b_panel = k * panel_;
      }
      gemm_({&a, 1, k, a_.row, a_.col, b, b_panel, panel_, c, ldc, rows.end - rows.begin, n, bias ? bias + cols.begin : nullptr, i > 0});
    }
  }

  // Each thread sums a part of k over all of C; the parts are then added in order.
  void run_split(const Run& run, const Job& job) const {
    const int threads = static_cast<int>(threads_);
    parallel_for(threads, splits_, [&](size_t slot) {
      const Own mine = own(run, slot);
      const Part depth = part_of(s_.k, splits_, slot);
      for (size_t batch = 0; batch < s_.batch && !run.cancelled(); ++batch)
        product(job, batch, {0, s_.m}, {0, s_.n}, depth, mine.raw + batch * s_.m * s_.n, s_.n, slot == 0 ? job.bias : nullptr, mine.pass);
    });
    parallel_for(threads, threads_, [&](size_t slot) {
      const Part part = part_of(s_.batch * s_.m, threads_, slot);
      float* const sum = own(run, 0).raw;
      for (size_t other = 1; other < splits_; ++other) {
        const float* const from = own(run, other).raw;
        for (size_t i = part.begin * s_.n; i < part.end * s_.n; ++i) sum[i] += from[i];
      }
      epilogue_.apply_flat(job.bound, part.begin, part.end, sum + part.begin * s_.n, s_.n, own(run, slot).epilogue);
    });
  }

  Sizes s_;
  Matrix a_, b_;
  Tensor bias_;
  bool has_bias_;
  Epilogue epilogue_;
  size_t threads_, panel_;
  size_t depth_;
  bool packed_first_;
  size_t batches_b_, rows_ = 0, row_pieces_ = 0, cols_ = 0, col_pieces_ = 0, splits_ = 1;
  decltype(&portable::gemm) gemm_;
  decltype(&portable::gemm_pack) pack_;
};

}  // namespace

std::unique_ptr<Kernel> make_matmul(const Program& program, const Instr& instr, const Device& device) {
  const Product p = check_matmul(program, instr);
  const auto matrix = [](const Product::Matrix& m) { return Matrix{*m.tensor, m.batch, m.row, m.col}; };
  Epilogue epilogue(program, instr, p.own_inputs(), kMatmulAttrs, {p.batch, p.m, p.n}, device);
  return std::make_unique<Matmul>(Sizes{p.batch, p.m, p.n, p.k}, matrix(p.a), matrix(p.b), p.bias, std::move(epilogue), device);
}

}  // namespace cf::cpu
