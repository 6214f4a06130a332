#include "cpu/kernels/gemm.h"

#include "cpu/kernels/copy.h"
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr int kCols = 2 * kWidth;  // columns of a register tile, and width of a panel
constexpr size_t kPanel = kCols;
static_assert(kPanel == panel_width(Isa::CF_ISA), "callers lay out B by panel_width");
// Rows of a register tile: with 2 accumulators a row, 2 vectors of B and 1 broadcast, 14 fill 32 registers and 6 fill 16.
#if defined(CF_VEC_AVX512)
constexpr int kRows = 14;
constexpr bool kMasked = true;  // stores of part of a vector cost no more than others
#else
constexpr int kRows = 6;
constexpr bool kMasked = false;
#endif

int min(int a, int b) { return a < b ? a : b; }
int max(int a, int b) { return a > b ? a : b; }

// How far ahead B is asked for where it is near, in floats: one small page, where hardware prefetchers stop.
constexpr size_t kAhead = 1024;

struct Tile {
  const GemmArgs* g;
  size_t row;      // first row of C
  const float* b;  // first column of B within its panel
  float* c;        // room for all of the tile's columns
  size_t ldc;
  const float* bias;  // or null
  int cols;           // of the bias, at most the tile's; of C too where its stores are masked
  const float* ask;   // what of B is asked for with its first row, and how much further on with each next row
  size_t ask_step;
};

// R rows × V vectors of C: two, or one where no more than its columns are left. Unit: a_k is 1 (rows of A are contiguous), else a_row is 1.
template <int R, bool Unit, int V>
void tile(const Tile& t) {
  const GemmArgs& g = *t.g;
  vf acc[R][V];
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) acc[i][j] = vf{};
  const float *b = t.b, *ask = t.ask;
  for (size_t s = 0; s < g.segments; ++s) {
    const size_t row = Unit ? g.a_row : 1;
    const float* a = g.a[s] + t.row * row;
    // One pointer per three rows: base, base + row and base + 2·row are all addressing modes, so 14 rows need 5 registers.
    const float* p[(R + 2) / 3];
    for (int i = 0; i < (R + 2) / 3; ++i) p[i] = a + static_cast<size_t>(3 * i) * row;
    for (size_t c = 0; c < g.k_segment; ++c) {
      const vf b0 = load(b), b1 = V > 1 ? load(b + kWidth) : vf{};
      __builtin_prefetch(ask);
      ask += t.ask_step;
      b += g.b_row;
#pragma GCC unroll 14
      for (int i = 0; i < R; ++i) {
        const vf x = Unit ? splat(p[i / 3][static_cast<size_t>(i % 3) * row]) : splat(a[i]);
        acc[i][0] += x * b0;
        if constexpr (V > 1) acc[i][1] += x * b1;
      }
      if (Unit) {
#pragma GCC unroll 5
        for (int i = 0; i < (R + 2) / 3; ++i) ++p[i];
      } else {
        a += g.a_k;
      }
    }
  }
  float* c = t.c;
  constexpr bool masked = kMasked && V == 1;
  if (g.accumulate) {
#pragma GCC unroll 14
    for (int i = 0; i < R; ++i) {
      for (int j = 0; j < V; ++j) acc[i][j] += masked ? load_first(c, t.cols) : load(c + j * kWidth);
      c = here(c + t.ldc);
    }
    c = t.c;
  } else if (t.bias) {
    vf bias[V];
    for (int j = 0; j < V; ++j) bias[j] = load_first(t.bias + j * kWidth, min(kWidth, max(t.cols - j * kWidth, 0)));
#pragma GCC unroll 14
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < V; ++j) acc[i][j] += bias[j];
  }
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i) {
    for (int j = 0; j < V; ++j) masked ? store_first(c, acc[i][j], t.cols) : store(c + j * kWidth, acc[i][j]);
    c = here(c + t.ldc);
  }
}

using TileFn = void (*)(const Tile&);
template <bool Unit, int V>
struct Tiles {
#if defined(CF_VEC_AVX512)
  static constexpr TileFn fn[kRows + 1] = {nullptr,            &tile<1, Unit, V>,  &tile<2, Unit, V>,  &tile<3, Unit, V>,  &tile<4, Unit, V>,
                                           &tile<5, Unit, V>,  &tile<6, Unit, V>,  &tile<7, Unit, V>,  &tile<8, Unit, V>,  &tile<9, Unit, V>,
                                           &tile<10, Unit, V>, &tile<11, Unit, V>, &tile<12, Unit, V>, &tile<13, Unit, V>, &tile<14, Unit, V>};
#else
  static constexpr TileFn fn[kRows + 1] = {nullptr,           &tile<1, Unit, V>, &tile<2, Unit, V>, &tile<3, Unit, V>,
                                           &tile<4, Unit, V>, &tile<5, Unit, V>, &tile<6, Unit, V>};
#endif
};

}  // namespace

void gemm(const GemmArgs& g) {
  if (g.m == 0) return;
  // Row blocks of nearly equal height: a short last one would run at half speed.
  const size_t blocks = (g.m + kRows - 1) / kRows, height = g.m / blocks, taller = g.m % blocks;
  float edge[kRows * kCols];
  for (size_t j = 0; j < g.n; j += kPanel) {
    const int cols = g.n - j < kPanel ? static_cast<int>(g.n - j) : kCols, room = cols > kWidth ? kCols : kWidth;
    const TileFn* const fns = cols > kWidth ? (g.a_k == 1 ? Tiles<true, 2>::fn : Tiles<false, 2>::fn) : g.a_k == 1 ? Tiles<true, 1>::fn : Tiles<false, 1>::fn;
    const float* const b = g.b + j / kPanel * g.b_panel;
    const float* const next = !g.next_b ? nullptr : j + kPanel < g.n ? b + g.b_panel : g.next_b;
    const size_t ask_step = next ? (kPanel + blocks - 1) / blocks : g.b_row;
    Tile t{&g, 0, b, g.c + j, g.ldc, g.bias ? g.bias + j : nullptr, cols, next ? next : b + kAhead, ask_step};
    for (size_t k = 0; k < blocks; ++k) {
      const size_t rows = height + (k < taller);
      if (cols == room || (kMasked && room == kWidth)) {
        fns[rows](t);
        t.c += rows * g.ldc;
      } else {
        // A tile that sticks out over the last column goes through a buffer: masks in every tile would not be free.
        float* const c = t.c;
        if (g.accumulate) copy_2d(c, g.ldc, 1, edge, room, 1, rows, cols);
        t.c = edge, t.ldc = room;
        fns[rows](t);
        copy_2d(edge, room, 1, c, g.ldc, 1, rows, cols);
        t.c = c + rows * g.ldc;
      }
      t.row += rows;
      if (next) t.ask += ask_step * g.segments * g.k_segment;
    }
  }
}

void gemm_pack(const float* b, size_t b_k, size_t b_n, size_t k, size_t n, float* out) {
  const size_t whole = b_n == 1 ? n / kPanel * kPanel : 0;
  // Row by row, because reading in the order of memory matters more than writing so: B comes from far away, the panels stay near.
  for (size_t c = 0; c < k && whole; ++c) {
    const float* from = b + c * b_k;
    float* p = out + c * kPanel;
    for (size_t j = 0; j < whole; j += kPanel, p += kPanel * k) {
      const vf v0 = load(from + j), v1 = load(from + j + kWidth);
      store(p, v0);
      store(p + kWidth, v1);
    }
  }
  for (size_t j = whole; j < n; j += kPanel) {
    const size_t cols = n - j < kPanel ? n - j : kPanel;
    float* p = out + j * k;
    if (b_n == 1) {
      // Masked loads bring the zeros along; float by float, packing a few columns took longer than multiplying them.
      const int n0 = min(static_cast<int>(cols), kWidth), n1 = static_cast<int>(cols) - n0;
      for (size_t c = 0; c < k; ++c) {
        const float* const from = b + c * b_k + j;
        store(p + c * kPanel, load_first(from, n0));
        store(p + c * kPanel + kWidth, n1 > 0 ? load_first(from + kWidth, n1) : vf{});
      }
      continue;
    }
    for (size_t c = 0; c < k; ++c) {
      for (size_t i = 0; i < cols; ++i) p[c * kPanel + i] = b[c * b_k + (j + i) * b_n];
      for (size_t i = cols; i < kPanel; ++i) p[c * kPanel + i] = 0;
    }
  }
}

}  // namespace cf::cpu::CF_ISA
