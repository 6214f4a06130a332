// Softmax attention and its gradient.
#include "cpu/kernels/attention.h"

#include <cmath>

#include "cpu/ops/operands.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

constexpr double kParallelFlops = 400e3;  ///< from which a second thread pays for its start

/// attrs: [heads, dropout bits, stream hash, loop level + 1].
class Attention final : public Kernel {
 public:
  Attention(const Program& program, const Instr& instr, const Device& device, bool gradient)
      : gradient_(gradient),
        items_(gradient ? CF_PICK(device.isa, attention_grad_items) : CF_PICK(device.isa, attention_items)) {
    const size_t own = gradient ? 4 : 1;
    const bool has_key = instr.inputs.size() == own + 1;
    const Operands o(program, instr, has_key ? own + 1 : own, gradient ? 1 : 2, 4);
    const float p = o.attr_float(1);
    if (!(p >= 0.0f && p < 1.0f)) o.bad("expected a dropout of at least 0 and below 1, found " + std::to_string(p));
    if (has_key != (p > 0.0f)) o.bad(p > 0.0f ? "dropout needs a key" : "a key without dropout");
    const Tensor& kvq = o.input_of_rank(0, "kvq", 3);
    const size_t n = kvq.dims[0], length = kvq.dims[1], heads = o.attr(0), wide = kvq.dims[2];
    if (heads < 1 || wide % 3 || (wide / 3) % heads) o.bad("expected 3 · heads · d channels, found " + std::to_string(wide) + " for " + std::to_string(heads) + " heads");
    const size_t c = wide / 3;
    if (static_cast<double>(heads * length) * static_cast<double>(length) >= 4294967296.0) o.bad("too long: an image has more weights than there are draws");
    shape_ = {n, length, heads, c / heads};
    kvq_ = kvq;
    if (gradient) {
      out_ = o.input(1, "out", {n, length, c}), lse_ = o.input(2, "lse", {n, heads, length}), dout_ = o.input(3, "dout", {n, length, c});
      dkvq_ = o.output(0, "dkvq", {n, length, wide});
    } else {
      out_ = o.output(0, "out", {n, length, c}), lse_ = o.output(1, "lse", {n, heads, length});
    }
    dropout_.threshold = static_cast<uint32_t>(std::ceil(p * 16777216.0f));  // exact: a power of two
    dropout_.scale = 1.0f / (1.0f - p);
    dropout_.stream = o.attr(2);
    level_ = o.attr(3);
    if (level_ > kMaxLoops) o.bad("expected a loop level below " + std::to_string(kMaxLoops) + ", found " + std::to_string(level_ - 1));
    if (has_key) key_ = o.input(own, "key", {4}, DType::u32);
    const size_t want = static_cast<size_t>(device.threads) < shape_.items() ? static_cast<size_t>(device.threads) : shape_.items();
    threads_ = flops() < kParallelFlops ? 1 : want;
    floats_ = round_up(gradient ? attention_grad_scratch_floats(shape_) : attention_scratch_floats(shape_), 16);
  }

  size_t scratch_bytes() const override { return threads_ * floats_ * sizeof(float); }
  double flops() const override {
    const double weights = static_cast<double>(shape_.items() * shape_.length) * static_cast<double>(shape_.length);
    return weights * (gradient_ ? 10.0 : 4.0) * static_cast<double>(shape_.head);
  }

  void run(const Run& run) const override {
    AttentionArgs a{};
    a.shape = shape_;
    a.dropout = dropout_;
    if (dropout_.threshold) {
      const uint32_t* key = run.u32(key_);
      a.dropout.seed = key[0], a.dropout.iteration = key[1], a.dropout.first_sample = key[2];
      a.dropout.loop = level_ ? run.loop(level_ - 1) : 0;
    }
    a.kvq = run.f32(kvq_), a.out = run.f32(out_), a.lse = run.f32(lse_);
    if (gradient_) a.dout = run.f32(dout_), a.dkvq = run.f32(dkvq_);
    float* scratch = reinterpret_cast<float*>(run.scratch());
    parallel_for(static_cast<int>(threads_), threads_, [&](size_t t) {
      const Part part = part_of(shape_.items(), threads_, t);
      for (size_t i = part.begin; i < part.end && !run.cancelled(); ++i) items_(a, i, i + 1, scratch + t * floats_);
    });
  }

 private:
  bool gradient_;
  decltype(&portable::attention_items) items_;
  AttentionShape shape_{};
  AttentionDropout dropout_{};
  Tensor kvq_, out_, lse_, dout_, dkvq_, key_;
  uint32_t level_ = 0;
  size_t threads_ = 1, floats_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_attention(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<Attention>(program, instr, device, false);
}
std::unique_ptr<Kernel> make_attention_grad(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<Attention>(program, instr, device, true);
}

}  // namespace cf::cpu
