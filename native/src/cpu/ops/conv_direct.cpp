// Which direct convolution goes where. oneDNN runs at the machine's peak from some sixteen channels on, and at a fifth of it with three.
#include "cpu/ops/conv_direct.h"

#include <cstring>

#include "cpu/kernels/gemm.h"

namespace cf::cpu {
namespace {
constexpr size_t kFew = 6;

// So few output positions that oneDNN would spend its time on reordering the weights.
bool few_positions(const ConvShape& s) { return s.n * s.oh * s.ow <= 64 && s.i * s.taps() >= 256; }
// Products of pixels: as fast as oneDNN as long as a panel of weights fits the first-level cache, and the epilogue is in the same pass.
bool pixelwise(const ConvShape& s) { return s.kh == 1 && s.kw == 1 && s.stride == 1 && s.padding == 0 && s.i <= 384 && s.o <= 384; }
}  // namespace

std::unique_ptr<Kernel> make_direct_conv(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device) {
  if (s.i <= kFew || pixelwise(s)) return make_row_conv(s, x, w, bias, std::move(epilogue), device);
  if (few_positions(s)) return make_patch_conv(s, x, w, bias, std::move(epilogue), device);
  return make_onednn_conv(s, x, w, bias, std::move(epilogue), device);
}

std::unique_ptr<Kernel> make_direct_data_grad(const ConvShape& s, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device) {
  if (s.i <= kFew) return make_tap_data_grad(s, dy, w, std::move(epilogue), device);
  if (pixelwise(s)) return make_pixel_data_grad(s, dy, w, std::move(epilogue), device);
  if (few_positions(s)) return make_patch_data_grad(s, dy, w, std::move(epilogue), device);
  return make_onednn_data_grad(s, dy, w, std::move(epilogue), device);
}

std::unique_ptr<Kernel> make_direct_weight_grad(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device) {
  if (s.i <= kFew && s.o % panel_width(device.isa) == 0) return make_row_weight_grad(s, x, dy, dw, device);
  if (few_positions(s)) return make_patch_weight_grad(s, x, dy, dw, device);
  return make_onednn_weight_grad(s, x, dy, dw, device);
}

void pad_image(const ConvShape& s, const float* x, size_t n, float* to) {
  const PaddedImages p(s);
  float* out = to + n * p.h * p.w * s.i;
  std::memset(out, 0, p.h * p.w * s.i * sizeof(float));
  for (size_t y = 0; y < s.h; ++y)
    std::memcpy(out + ((y + s.padding) * p.w + s.padding) * s.i, x + (n * s.h + y) * s.w * s.i, s.w * s.i * sizeof(float));
}

}  // namespace cf::cpu
