// The ways of computing a direct convolution.
#pragma once
#include <memory>

#include "cpu/ops/conv.h"

namespace cf::cpu {

std::unique_ptr<Kernel> make_onednn_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_onednn_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_onednn_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device);

/// As products of rows: a kernel row of x is contiguous in NHWC, so one output row is kh products of overlapping rows. Any shape; best for few channels in.
std::unique_ptr<Kernel> make_row_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device);
/// The gradient by x of a 1×1 convolution of stride 1 is one too.
std::unique_ptr<Kernel> make_pixel_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device);
/// As one product dy·w to taps × channels, whose taps are then added up. Best for few channels out (of dx).
std::unique_ptr<Kernel> make_tap_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device);
/// As products of overlapping rows of x with rows of dy. For few channels of x.
std::unique_ptr<Kernel> make_row_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device);

/// With the weights where they lie and the few patches of x gathered. For few output positions.
std::unique_ptr<Kernel> make_patch_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_patch_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_patch_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device);

/// The images with `padding` zeros around, for the row kernels; with padding 0 they are used as they are.
struct PaddedImages {
  size_t h, w, floats;
  explicit PaddedImages(const ConvShape& s) : h(s.h + 2 * s.padding), w(s.w + 2 * s.padding), floats(s.padding ? s.n * h * w * s.i : 0) {}
};
/// Copies image `n` of x into `to` (the whole padded batch).
void pad_image(const ConvShape& s, const float* x, size_t n, float* to);

}  // namespace cf::cpu
