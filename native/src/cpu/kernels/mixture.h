// Mixture-of-logistics coupling: y = (logit F(x) + b)·e^a with F the cumulative distribution of K logistics per element.
//
// The parameters lie as [pixel][group][channel], 2 + 3K groups, so neighbouring elements (lanes) of one group are C floats apart from the next group and a
// whole record apart from the next pixel. The kernels work on tiles of whole pixels, copied into scratch as [group][element], where lanes are elements.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

struct MixtureShape {
  size_t images, pixels, channels, components;

  size_t groups() const { return 2 + 3 * components; }
  /// About 48 elements a tile: six vectors of 8 or three of 16 for every channel count that divides 48, and 98 groups of them fit into the first-level cache.
  size_t tile_pixels() const { return channels >= 48 ? 1 : 48 / channels; }
  size_t image_tiles() const { return (pixels + tile_pixels() - 1) / tile_pixels(); }
  size_t tiles() const { return images * image_tiles(); }
  /// Floats from one group of a tile to the next: whole vectors, and one vector more because copying pixels writes past their end.
  size_t tile_stride() const { return (tile_pixels() * channels + 15) / 16 * 16 + 16; }
  /// Scratch floats per thread: the tile, five rows of elements and five vectors per component.
  size_t scratch_floats() const { return tile_stride() * (groups() + 5) + 5 * 16 * components; }
};

struct MixtureArgs {
  MixtureShape shape;
  const float* x;  ///< for the inverse: y
  const float* p;
  const float* rescale;
  const float* dy;       ///< gradient only
  const float* dlogdet;  ///< gradient only
  float* y;              ///< for the inverse: x; for the gradient: dx
  float* dp;             ///< gradient only
  double* logdet;        ///< one sum per tile; not for the gradient
};

}  // namespace cf::cpu

// Tiles [begin, end). `scratch` is aligned to 64 bytes. drescale: this thread's sums, added to.
CF_DECLARE(void mixture_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch);
           void mixture_grad_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch, double* drescale);
           void mixture_inverse_tiles(const MixtureArgs& args, size_t begin, size_t end, float* scratch);)
