// Factories of the convolution family: they choose the algorithm that the instruction names.
#include "cpu/ops/conv.h"

#include <algorithm>

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/winograd.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

class WinogradWeights final : public Kernel {
 public:
  WinogradWeights(const Tensor& w, const Tensor& u, bool data_grad, const Device& device)
      : w_(w),
        u_(u),
        data_grad_(data_grad),
        summed_(w.dims[data_grad ? 0 : 1]),
        produced_(w.dims[data_grad ? 1 : 0]),
        threads_(device.threads),
        panel_(panel_width(device.isa)),
        run_(CF_PICK(device.isa, winograd_weights)),
        split_(has_winograd_parts(u, summed_, produced_, device) ? CF_PICK(device.isa, winograd_weights_split) : nullptr) {}
  void run(const Run& run) const override {
    const float* w = run.f32(w_);
    float* u = run.f32(u_);
    const size_t o = w_.dims[0], i = w_.dims[1];
    if (split_) {
      const size_t blocks = ceil_div(summed_, 32), panels = ceil_div(produced_, 32);
      return parallel_for(threads_, panels * blocks, [&](size_t k) {
        if (!run.cancelled()) split_(w, o, i, data_grad_, k / blocks, k % blocks, reinterpret_cast<char*>(u));
      });
    }
    constexpr size_t kChannels = 16;  // a piece of work: large enough to hide its start, small enough to share out evenly
    const size_t panels = round_up(produced_, 32) / panel_, channels = round_up(summed_, 16), pieces = ceil_div(channels, kChannels);
    parallel_for(threads_, panels * pieces, [&](size_t k) {
      const size_t c0 = k % pieces * kChannels;
      if (!run.cancelled()) run_(w, o, i, data_grad_, k / pieces, c0, std::min(c0 + kChannels, channels), u);
    });
  }

 private:
  Tensor w_, u_;
  bool data_grad_;
  size_t summed_, produced_;
  int threads_;
  size_t panel_;
  decltype(&portable::winograd_weights) run_;
  decltype(&portable::winograd_weights_split) split_;
};

}  // namespace

std::unique_ptr<Kernel> make_conv(const Program& program, const Instr& instr, const Device& device) {
  const ConvOperands c = check_conv(program, instr);
  const ConvShape& s = c.shape;
  Epilogue epilogue(program, instr, c.own_inputs(), kConvAttrs, {s.n, s.oh, s.ow, s.o}, device, c.pooled);
  if (!epilogue.active() && !epilogue.result_uniform()) refuse(program, instr, "output: expected dense but for the pixel stride");
  if (c.winograd) return make_winograd_conv(*c.x, *c.w, c.bias, std::move(epilogue), s.i, device);
  return make_direct_conv(s, *c.x, *c.w, c.bias, std::move(epilogue), device);
}

std::unique_ptr<Kernel> make_conv_data_grad(const Program& program, const Instr& instr, const Device& device) {
  const ConvOperands c = check_conv_data_grad(program, instr);
  const ConvShape& s = c.shape;
  Epilogue epilogue(program, instr, c.own_inputs(), kConvAttrs, {s.n, s.h, s.w, s.i}, device, c.pooled);
  if (!epilogue.active() && !epilogue.result_uniform()) refuse(program, instr, "output: expected dense but for the pixel stride");
  if (c.winograd) return make_winograd_conv(*c.dy, *c.w, nullptr, std::move(epilogue), s.o, device);
  return make_direct_data_grad(s, *c.dy, *c.w, std::move(epilogue), device);
}

std::unique_ptr<Kernel> make_conv_weight_grad(const Program& program, const Instr& instr, const Device& device) {
  const ConvOperands c = check_conv_weight_grad(program, instr);
  if (c.winograd) return make_winograd_weight_grad(c.shape, *c.x, *c.dy, *c.w, device);
  return make_direct_weight_grad(c.shape, *c.x, *c.dy, *c.w, device);
}

std::unique_ptr<Kernel> make_winograd_weights(const Program& program, const Instr& instr, const Device& device) {
  const Tensor& w = check_winograd_weights(program, instr);
  return std::make_unique<WinogradWeights>(w, program.tensors[instr.outputs[0]], instr.attrs[0] == 1, device);
}

}  // namespace cf::cpu
