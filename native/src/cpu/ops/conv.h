// What the kernels of the convolution family share: the makers of each algorithm.
#pragma once
#include <memory>

#include "cpu/kernel.h"
#include "cpu/ops/epilogue.h"
#include "program/checks.h"

namespace cf::cpu {

/// How a Winograd convolution walks its tiles, chosen when planning.
struct WinogradPlan {
  bool shared;        ///< all tiles transformed once, threads split the output channels; else threads split the blocks of tiles
  bool split;         ///< products from tiles of bfloat16
  bool far;           ///< transformed weights come from memory
  size_t tile_block;  ///< tiles transformed together
  size_t out_block;   ///< output channels computed together, a multiple of 32
};
/// Whether transformed weights are written, and read, as parts for split_products.
inline bool has_winograd_parts(const Tensor& u, size_t summed, size_t produced, const Device& device) {
  return device.tiles() && has_room_for_parts(u, summed, produced);
}
WinogradPlan plan_winograd(size_t tiles, size_t summed, size_t produced, bool parts, const Device& device);

/// A 3×3 convolution of stride 1 and padding 1 from `from` channels (w transformed by winograd_weights) to epilogue.grid().channels.
std::unique_ptr<Kernel> make_winograd_conv(const Tensor& x, const Tensor& u, const Tensor* bias, Epilogue epilogue, size_t from, const Device& device);
std::unique_ptr<Kernel> make_winograd_weight_grad(const ConvShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device);

/// Direct convolutions: own kernels where they measured faster, else oneDNN.
std::unique_ptr<Kernel> make_direct_conv(const ConvShape& shape, const Tensor& x, const Tensor& w, const Tensor* bias, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_direct_data_grad(const ConvShape& shape, const Tensor& dy, const Tensor& w, Epilogue epilogue, const Device& device);
std::unique_ptr<Kernel> make_direct_weight_grad(const ConvShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw, const Device& device);

}  // namespace cf::cpu
