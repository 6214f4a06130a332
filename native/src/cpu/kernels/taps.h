// The last step of a convolution's gradient by an input of few channels: what every pixel of the output adds to its neighbours is summed where it belongs.
#pragma once
#include "cpu/kernels/isa.h"

namespace cf::cpu {

/// Products of the pixels of dy with the kernel, for one row of dx: of each row of dy that reaches it, where its first pixel's products by that row of the
/// kernel begin. A tap's products are `channels` floats, a pixel's `pixel`; `pixels` to a row.
struct TapRows {
  const float* const* rows;
  size_t count, pixel, pixels, taps, channels;
  size_t stride, padding;
};

}  // namespace cf::cpu

CF_DECLARE(
    /// dx[x·channels + i] = Σ over rows r and taps k with o·stride + k − padding = x of rows[r][o·pixel + k·channels + i], for x < width.
    /// May read up to a vector's width past a row's last product.
    void sum_taps(const TapRows& taps, size_t width, float* dx);)
