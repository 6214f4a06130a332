// Convolutions in double, as plain as they can be written.
#pragma once
#include <vector>

#include "program/conv_shape.h"

namespace cf::test {

/// f(index of x, index of w, index of y) for every product that a convolution adds up. NHWC images, OIHW weights.
template <class F>
void each_product(const ConvShape& s, F&& f) {
  for (size_t n = 0; n < s.n; ++n)
    for (size_t oy = 0; oy < s.oh; ++oy)
      for (size_t ox = 0; ox < s.ow; ++ox)
        for (size_t ky = 0; ky < s.kh; ++ky)
          for (size_t kx = 0; kx < s.kw; ++kx) {
            const size_t y = oy * s.stride + ky - s.padding, x = ox * s.stride + kx - s.padding;  // wraps around when negative
            if (y >= s.h || x >= s.w) continue;
            for (size_t o = 0; o < s.o; ++o)
              for (size_t i = 0; i < s.i; ++i)
                f(((n * s.h + y) * s.w + x) * s.i + i, ((o * s.i + i) * s.kh + ky) * s.kw + kx, ((n * s.oh + oy) * s.ow + ox) * s.o + o);
          }
}

inline std::vector<double> reference_conv(const ConvShape& s, const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias) {
  std::vector<double> y(s.n * s.oh * s.ow * s.o);
  for (size_t k = 0; k < y.size() && !bias.empty(); ++k) y[k] = bias[k % s.o];
  each_product(s, [&](size_t a, size_t b, size_t c) { y[c] += static_cast<double>(x[a]) * w[b]; });
  return y;
}
inline std::vector<double> reference_data_grad(const ConvShape& s, const std::vector<float>& dy, const std::vector<float>& w) {
  std::vector<double> dx(s.n * s.h * s.w * s.i);
  each_product(s, [&](size_t a, size_t b, size_t c) { dx[a] += static_cast<double>(dy[c]) * w[b]; });
  return dx;
}
inline std::vector<double> reference_weight_grad(const ConvShape& s, const std::vector<float>& x, const std::vector<float>& dy) {
  std::vector<double> dw(s.o * s.i * s.kh * s.kw);
  each_product(s, [&](size_t a, size_t b, size_t c) { dw[b] += static_cast<double>(dy[c]) * x[a]; });
  return dw;
}

}  // namespace cf::test
