// Which pixels a tile of 4×4 is, and asking for those of the next one while one is transformed.
#pragma once
#include <algorithm>
#include <cstddef>

namespace cf::cpu {

/// The tiles of a batch of images, row by row.
struct TileGrid {
  size_t down, across;  ///< tiles of an image
  struct Place {
    size_t image, down, across;
    size_t row() const { return 4 * down; }
    size_t pixel() const { return 4 * across; }
  };
  Place place(size_t tile) const { return {tile / (down * across), tile / across % down, tile % across}; }
  /// The tile behind one: counting on takes less than the divisions, which show where channels are few.
  Place after(Place p) const {
    if (++p.across < across) return p;
    p.across = 0;
    if (++p.down < down) return p;
    return {p.image + 1, 0, 0};
  }
};

/// An NHWC tensor whose tiles are read in order.
struct TiledImages {
  size_t rows, pixels, channels;
};

/// Asks for up to 4×4 pixels from (row, pixel) of an image on. Where rows of pixels lie a page or more apart, the hardware does not see that a tile's rows
/// follow each other, and waiting for them took 5 % of a chain of `small`; nearer rows it fetches itself.
/// Always inlined, because GCC drops calls of functions that do nothing but ask.
__attribute__((always_inline)) inline void ask_for_tile(const float* image, const TiledImages& in, size_t row, size_t pixel) {
  constexpr size_t kPage = 4096, kLine = 64 / sizeof(float);
  const size_t stride = in.pixels * in.channels;
  if (stride * sizeof(float) < kPage || row >= in.rows || pixel >= in.pixels) return;
  const size_t rows = std::min<size_t>(4, in.rows - row), n = std::min<size_t>(4, in.pixels - pixel) * in.channels;
  const float* from = image + row * stride + pixel * in.channels;
  for (size_t i = 0; i < rows; ++i, from += stride)
    for (size_t j = 0; j < n; j += kLine) __builtin_prefetch(from + j);
}

}  // namespace cf::cpu
