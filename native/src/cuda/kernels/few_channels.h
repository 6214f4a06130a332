// 3×3 (or smaller) convolutions of few input channels, such as the first one of a network on images: too little to sum for a product, nothing but reading and
// writing the wide side. In front of the kernels' files stand CF_I (channels of the narrow side), CF_KH, CF_KW and CF_PADDING; steps are of one pixel.
#pragma once
#include "cuda/kernels/device.h"

namespace cf::cuda {

/// Shapes of both directions: x [n, h, w, I], y [n, oh, ow, o], weights [o, I, kh, kw], all dense.
struct FewChannelsArgs {
  const float* w;
  const float* from;  ///< x, or y's gradient
  float* to;          ///< y, or x's gradient
  uint32_t n, h, wide, oh, ow, o;
  uint32_t strip;  ///< neighbouring pixels of a row that one thread (or group of them) makes, so that it reads what they share once
};

}  // namespace cf::cuda
