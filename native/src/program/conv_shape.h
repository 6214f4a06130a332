// Sizes of a convolution: x [n, h, w, i], weights [o, i, kh, kw], y [n, oh, ow, o].
#pragma once
#include <cstddef>

namespace cf {

struct ConvShape {
  size_t n, h, w, i, o, kh, kw, oh, ow, stride, padding;

  size_t taps() const noexcept { return kh * kw; }
  double flops() const noexcept { return 2.0 * static_cast<double>(n * oh * ow * o) * static_cast<double>(i * taps()); }
};

}  // namespace cf
