#include "cpu/kernels/split_products.h"

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/tiles.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr size_t kPanel = panel_width(Isa::CF_ISA);
// How far ahead B is asked for, in floats (see gemm.cpp).
constexpr size_t kAhead = 1024;

size_t least(size_t a, size_t b) { return a < b ? a : b; }

// What is multiplied with one set of A's parts: a plane, or a piece of its depth.
struct Stage {
  size_t plane, first, deep;  // `deep` blocks of kDeep from row `first` of B on
};

// Splits what the next products need a little at a time, between the products of now: tiles and vectors are different units of the processor.
class Ahead {
 public:
  explicit Ahead(const SplitProducts& g) : g_(g) {}

  /// A for a stage.
  void want_a(const Stage& s, char* to) {
    a_ = {g_.a + s.plane * g_.a_plane + s.first, to, 0, 0, g_.rows, g_.depth - s.first};
    a_units_ = g_.rows * s.deep;
  }
  /// So many of its parts are wanted by now.
  void until(size_t part, size_t parts) { a_.end = a_units_ * part / parts; }
  /// A panel of B; nothing if B has been split before.
  void want_b(const Stage& s, size_t panel, char* to) {
    if (g_.b_parts) return;
    // Of the last block's second 16 rows there may be none.
    b_ = {g_.b + s.plane * g_.b_plane + panel * (32 / kPanel) * g_.b_panel + s.first * kPanel, to, 0, s.deep * kTileRows,
          (g_.depth - s.first + 15) / kDeep * kTileRows};
  }
  /// Spreads it over so many calls of `some`.
  void over(size_t calls) {
    a_each_ = (a_.end - a_.unit + calls - 1) / calls;
    b_each_ = (b_.end - b_.unit + calls - 1) / calls;
  }
  __attribute__((always_inline)) void some() {
    split_b(least(b_each_, b_.end - b_.unit));
    split_a(least(a_each_, a_.end - a_.unit));
  }
  void all() {
    split_b(b_.end - b_.unit);
    split_a(a_.end - a_.unit);
  }

 private:
  // Row by row, 32 values of each, then the next 32.
  __attribute__((always_inline)) void split_a(size_t count) {
    if (count == 0) return;
    Rows a = a_;
    const size_t row = g_.a_row;
    a.unit += count;
    for (; count > 0; --count) {
      const float* const from = a.from;
      if (a.depth >= kDeep) split([&](size_t l) { return load(from + l); }, [&](size_t l) { return load(from + 16 + l); }, a.to);
      else split_last(from, static_cast<int>(a.depth), a.to);
      a.from += row;
      a.to += 64;
      --a.rows;
      if (a.rows == 0) {
        a.from += kDeep - g_.rows * row;
        a.to += kBlock - ((g_.rows - 1) % kTileRows + 1) * 64;  // of a last tile as many rows as there are
        a.rows = g_.rows;
        a.depth -= kDeep;
      } else if ((g_.rows - a.rows) % kTileRows == 0) {
        a.to += kBlock - kTileBytes;
      }
    }
    a_ = a;
  }
  static void split_last(const float* from, int have, char* to) {
    const auto at = [&](size_t l) {
      const int left = have - static_cast<int>(l);
      return left > 0 ? load_first(from + l, left < kWidth ? left : kWidth) : vf{};
    };
    split(at, [&](size_t l) { return at(16 + l); }, to);
  }
  // Rows k and k + 16 of 32 columns.
  __attribute__((always_inline)) void split_b(size_t count) {
    if (count == 0) return;
    Panel b = b_;
    const size_t panel = g_.b_panel;
    for (; count > 0; --count) {
      const float* const from = b.from;
      const auto at = [&](size_t row, size_t column) { return load(from + row * kPanel + column / kPanel * panel + column % kPanel); };
      const bool both = b.unit < b.both;
      for (size_t line = 0; line < 32; line += 16) {
        __builtin_prefetch(from + kAhead + line);
        __builtin_prefetch(from + kAhead + 16 * kPanel + line);
      }
#pragma GCC unroll 2
      for (size_t half = 0; half < 2; ++half) {
        const auto first = [&](size_t l) { return at(0, 16 * half + l); };
        if (both) split(first, [&](size_t l) { return at(16, 16 * half + l); }, b.to + half * kBlock);
        else split(first, [](size_t) { return vf{}; }, b.to + half * kBlock);
      }
      b.from += kPanel;
      b.to += 64;
      if (++b.unit % kTileRows == 0) {
        b.from += 16 * kPanel;
        b.to += 2 * kBlock - kTileBytes;
      }
    }
    b_ = b;
  }

  struct Rows {
    const float* from;
    char* to;
    size_t unit, end;
    size_t rows, depth;  // left: of this block, from this block on
  };
  struct Panel {
    const float* from;
    char* to;
    size_t unit, end;
    size_t both;  // units whose second row exists
  };
  const SplitProducts& g_;
  size_t a_units_ = 0, a_each_ = 0, b_each_ = 0;
  Rows a_{};
  Panel b_{};
};

// C tiles 0 to 3, A tiles 4 and 5, B tiles 6 and 7. kHigh: 32 rows of C, else 16.
template <bool kHigh>
CF_INLINE void load_a(Tiles& t, const char* a) {
  t.load<4>(a, 64);
  if constexpr (kHigh) t.load<5>(a + kBlock, 64);
}
CF_INLINE void load_b(Tiles& t, const char* b) {
  t.load<6>(b, 64);
  t.load<7>(b + kBlock, 64);
}
template <bool kHigh>
CF_INLINE void multiply(Tiles& t, Ahead& ahead) {
  t.dot<0, 4, 6>();
  t.dot<1, 4, 7>();
  if constexpr (kHigh) {
    t.dot<2, 5, 6>();
    t.dot<3, 5, 7>();
  }
  ahead.some();
}

constexpr size_t kCalls = 6;  // of `some` per block

// A[rows, deep]·B[deep, 32 columns] of parts. The sums of small products come first, while there is nothing large that they would be rounded to fit: so the
// large ones are rounded as often as in a sum of float32 products, or less.
template <bool kHigh>
CF_INLINE void product(Tiles& t, const char* a, const char* b, size_t deep, size_t tall, Ahead& ahead) {
  constexpr size_t kMiddle = kTileBytes, kLow = 2 * kTileBytes;
  const size_t a_next = tall * kBlock, b_next = 2 * kBlock;
  for (size_t k = 0; k < deep; ++k) {
    const char *const ak = a + k * a_next, *const bk = b + k * b_next;
    load_a<kHigh>(t, ak);
    load_b(t, bk + kLow);
    multiply<kHigh>(t, ahead);
    load_b(t, bk + kMiddle);
    multiply<kHigh>(t, ahead);
    load_a<kHigh>(t, ak + kMiddle);
    multiply<kHigh>(t, ahead);
    load_b(t, bk);
    multiply<kHigh>(t, ahead);
    load_a<kHigh>(t, ak + kLow);
    multiply<kHigh>(t, ahead);
  }
  for (size_t k = 0; k < deep; ++k) {
    load_a<kHigh>(t, a + k * a_next);
    load_b(t, b + k * b_next);
    multiply<kHigh>(t, ahead);
  }
}

// 16 rows of C by 32 columns in tiles T and T + 1; of `rows` those that there are.
template <int T>
CF_INLINE void begin(Tiles& t, const float* c, size_t c_row, size_t rows, bool adds) {
  if (!adds) {
    t.zero<T>();
    t.zero<T + 1>();
    return;
  }
  alignas(64) float edge[kTileRows * 32];
  if (rows < kTileRows) {
    __builtin_memset(edge, 0, sizeof edge);
    for (size_t i = 0; i < rows; ++i) __builtin_memcpy(edge + i * 32, c + i * c_row, 32 * sizeof(float));
    c = edge;
    c_row = 32;
  }
  t.settle();
  t.load<T>(c, c_row * sizeof(float));
  t.load<T + 1>(c + 16, c_row * sizeof(float));
}
template <int T>
CF_INLINE void finish(Tiles& t, float* c, size_t c_row, size_t rows) {
  alignas(64) float edge[kTileRows * 32];
  const bool whole = rows >= kTileRows;
  float* const to = whole ? c : edge;
  const size_t row = whole ? c_row : 32;
  t.store<T>(to, row * sizeof(float));
  t.store<T + 1>(to + 16, row * sizeof(float));
  for (size_t i = 0; !whole && i < rows; ++i) __builtin_memcpy(c + i * c_row, edge + i * 32, 32 * sizeof(float));
}

}  // namespace

void split_products(const SplitProducts& g, char* room) {
  if (g.rows == 0) return;
  Tiles t;
  Ahead ahead(g);
  const size_t pieces = (g.depth + kMostSplitDepth - 1) / kMostSplitDepth, stages = g.planes * pieces;
  const size_t tall = (g.rows + kTileRows - 1) / kTileRows, pairs = (tall + 1) / 2;
  const auto blocks_of = [](size_t depth) { return (depth + kDeep - 1) / kDeep; };
  const auto stage = [&](size_t s) {
    const size_t first = s % pieces * kMostSplitDepth;
    return Stage{s / pieces, first, blocks_of(least(kMostSplitDepth, g.depth - first))};
  };
  // Two of each: those in use, and those being made.
  const size_t most = blocks_of(least(g.depth, kMostSplitDepth)) * kBlock;
  char* const a_parts[2] = {room, room + tall * most};
  char* const b_parts[2] = {room + 2 * tall * most, room + 2 * tall * most + 2 * most};
  const auto parts_of_b = [&](const Stage& s, size_t panel, size_t turn) {
    if (!g.b_parts) return static_cast<const char*>(b_parts[turn % 2]);
    return g.b_parts + ((s.plane * g.panels_of_plane + g.first_panel + panel) * blocks_of(g.depth) + s.first / kDeep) * 2 * kBlock;
  };
  ahead.want_a(stage(0), a_parts[0]);
  ahead.until(1, 1);
  ahead.want_b(stage(0), 0, b_parts[0]);
  ahead.all();
  for (size_t s = 0, turn = 0; s < stages; ++s) {
    const Stage now = stage(s);
    const bool more = s + 1 < stages;
    if (more) ahead.want_a(stage(s + 1), a_parts[(s + 1) % 2]);
    for (size_t p = 0; p < g.panels; ++p, ++turn) {
      if (more) ahead.until(p + 1, g.panels);
      char* const next = b_parts[(turn + 1) % 2];
      if (p + 1 < g.panels) ahead.want_b(now, p + 1, next);
      else if (more) ahead.want_b(stage(s + 1), 0, next);
      ahead.over(pairs * now.deep * kCalls);
      t.settle();
      const char* const b = parts_of_b(now, p, turn);
      float* c = g.c + now.plane * g.c_plane + p * 32;
      for (size_t i = 0; i < tall; i += 2, c += 2 * kTileRows * g.c_row) {
        const char* const a = a_parts[s % 2] + i * kBlock;
        const size_t rows = g.rows - i * kTileRows;
        const bool adds = now.first > 0;
        begin<0>(t, c, g.c_row, rows, adds);
        if (i + 1 < tall) {
          float* const lower = c + kTileRows * g.c_row;
          begin<2>(t, lower, g.c_row, rows - kTileRows, adds);
          product<true>(t, a, b, now.deep, tall, ahead);
          finish<2>(t, lower, g.c_row, rows - kTileRows);
        } else {
          product<false>(t, a, b, now.deep, tall, ahead);
        }
        finish<0>(t, c, g.c_row, rows);
      }
      ahead.all();
    }
  }
}

}  // namespace cf::cpu::CF_ISA
