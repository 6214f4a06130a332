// The transforms of Winograd's F(4×4, 3×3): y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A on 6×6 tiles d of the input that overlap by two, one 4×4 tile of the output each
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", section 4.3), a line of a tile at a time.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

/// Images cut into tiles of 4×4, and the tiles that one launch transforms. Transformed tiles lie as [slice][36][slice_tiles][padded channels]; those behind the
/// last one are zero.
struct WinogradTiles {
  uint32_t h, w, channels, padded;
  uint32_t down, across, tiles;  ///< of one image, of all images
  uint32_t first, slices, slice_tiles;
};
struct WinogradWeightsArgs {
  const float* w;  ///< [O, I, 3, 3]
  float* u;        ///< [36][A][B]
  uint32_t summed, produced, a, b;
  uint32_t summed_stride, produced_stride;  ///< in w
  uint32_t turned;                          ///< by 180°, for the gradient by the data
};
struct WinogradInputArgs {
  WinogradTiles t;
  const float* x;  ///< [n, h, w, channels]
  float* v;
};
/// What an epilogue reads or writes: floats from one image, row, pixel and channel to the next.
struct WinogradWindow {
  float* data;
  uint64_t image;
  uint32_t row, pixel, channel;
};
struct WinogradOutputArgs {
  WinogradTiles t;
  const float* m;
  const float* bias;  ///< null: none
  WinogradWindow inputs[16], outputs[8];
};
struct WinogradBackArgs {
  const float* m;  ///< [slices][36][O][row]
  float* dw;       ///< [O, I, 3, 3]
  uint32_t slices, o, i, row;
};

#if defined(CF_KERNEL)

/// Bᵀ d
__device__ __forceinline__ void input6(const float d[6], float o[6]) {
  const float a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], t = d[3] - d[1];
  o[0] = 4 * d[0] + (d[4] - 5 * d[2]);
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + 2 * t;
  o[4] = c - 2 * t;
  o[5] = 4 * d[1] + (d[5] - 5 * d[3]);
}
/// Aᵀ m
__device__ __forceinline__ void output4(const float m[6], float o[4]) {
  const float a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  o[0] = m[0] + a + c;
  o[1] = b + 2 * d;
  o[2] = a + 4 * c;
  o[3] = (b + 8 * d) + m[5];
}
/// A d, the adjoint of output4
__device__ __forceinline__ void output_adjoint6(const float d[4], float o[6]) {
  const float a = d[0] + d[2], b = d[1] + d[3], c = d[0] + 4 * d[2], t = d[1] + 4 * d[3];
  o[0] = d[0];
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + 2 * t;
  o[4] = c - 2 * t;
  o[5] = d[3];
}
/// G w
__device__ __forceinline__ void weights6(const float w[3], float o[6]) {
  const float a = (w[0] + w[2]) * (-1.0f / 6), b = w[1] * (1.0f / 6), c = (w[0] + 4 * w[2]) * (1.0f / 24), d = w[1] * (1.0f / 12);
  o[0] = w[0] * 0.25f;
  o[1] = a - b;
  o[2] = a + b;
  o[3] = c + d;
  o[4] = c - d;
  o[5] = w[2];
}
/// Gᵀ m, the adjoint of weights6
__device__ __forceinline__ void weights_adjoint3(const float m[6], float o[3]) {
  const float a = (m[1] + m[2]) * (1.0f / 6), b = (m[2] - m[1]) * (1.0f / 6), c = m[3] + m[4], d = m[3] - m[4];
  o[0] = m[0] * 0.25f + (c * (1.0f / 24) - a);
  o[1] = d * (1.0f / 12) + b;
  o[2] = c * (1.0f / 6) + (m[5] - a);
}

/// Where a tile lies: its first pixel, and how much of the 4×4 is inside the image.
struct TilePlace {
  uint32_t image, row, column, rows, columns;
};
__device__ __forceinline__ TilePlace tile_place(const WinogradTiles& t, uint32_t tile) {
  const uint32_t line = tile / t.across;
  TilePlace p;
  p.image = line / t.down;
  p.row = (line - p.image * t.down) * 4, p.column = (tile - line * t.across) * 4;
  p.rows = min(4u, t.h - p.row), p.columns = min(4u, t.w - p.column);
  return p;
}

#endif

}  // namespace cf::cuda
