// What this library uses of oneDNN (2.x and 3.x), behind one door: onednn.cpp is the only file that includes it.
#pragma once
#include <cstddef>
#include <memory>

#include "program/conv_shape.h"

namespace cf::cpu::onednn {

/// One primitive, with the reorders of its weights, created for a fixed number of threads. Running allocates nothing.
class Primitive {
 public:
  virtual ~Primitive() = default;
  /// Pointers in the order that the maker names. `scratch` has scratch_bytes() bytes, 64-byte aligned.
  virtual void run(const float* a, const float* b, const float* bias, float* out, char* scratch) const = 0;
  virtual size_t scratch_bytes() const = 0;
  /// oneDNN's name of the implementation, for benchmarks.
  virtual const char* implementation() const = 0;
};

/// a = x, b = w (OIHW), bias [O] or null; out = y. Activations are dense NHWC.
std::unique_ptr<Primitive> conv(const ConvShape& shape, bool bias, int threads);
/// a = dy, b = w; out = dx.
std::unique_ptr<Primitive> conv_data_grad(const ConvShape& shape, int threads);
/// a = x, b = dy; out = dw (OIHW).
std::unique_ptr<Primitive> conv_weight_grad(const ConvShape& shape, int threads);

struct MatmulShape {
  size_t batch, m, n, k;
  size_t a[3], b[3], y[3];  ///< strides; a batch stride of 0 broadcasts
};
/// a = A, b = B, bias [n] or null; out = y.
std::unique_ptr<Primitive> matmul(const MatmulShape& shape, bool bias, int threads);

}  // namespace cf::cpu::onednn
