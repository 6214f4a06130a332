// Asking for the pixels of the next tile while one is transformed.
#pragma once
#include <algorithm>
#include <cstddef>

namespace cf::cpu {

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
