// Philox draws as an op: which draw a number is depends on seed, stream, iteration, loop and sample alone, never on threads or batch.
#include <algorithm>

#include "cpu/kernels/random.h"
#include "cpu/ops/nest.h"
#include "cpu/team.h"
#include "program/checks.h"

namespace cf::cpu {
namespace {

class Random final : public Kernel {
 public:
  Random(const Program& p, const Instr& instr, const Device& device) : threads_(device.threads) {
    check_random(p, instr);
    key_ = p.tensors[instr.inputs[0]], out_ = p.tensors[instr.outputs[0]];
    stream_ = instr.attrs[1], level_ = instr.attrs[2];
    draw_ = instr.attrs[0] ? CF_PICK(device.isa, draw_normal) : CF_PICK(device.isa, draw_uniform);
    samples_ = out_.dims[0], each_ = out_.elements() / samples_;
    if (samples_ * each_ < 2048) threads_ = 1;
  }

  void run(const Run& run) const override {
    const uint32_t* const k = run.u32(key_);
    const DrawKey key{k[0], stream_, k[1], level_ ? run.loop(level_ - 1) : 0, k[2]};
    float* const out = run.f32(out_);
    const uint64_t counters = samples_ * blocks_of(each_);
    if (threads_ == 1) return draw_(key, each_, 0, counters, out);
    on_team(threads_, [&](int t) {
      uint64_t begin, end;
      share((counters + 15) / 16, t, threads_, &begin, &end);
      draw_(key, each_, std::min(begin * 16, counters), std::min(end * 16, counters), out);
    });
  }

 private:
  int threads_;
  Tensor key_{}, out_{};
  uint32_t stream_ = 0, level_ = 0;
  uint64_t samples_ = 1, each_ = 1;
  decltype(CF_PICK(Isa::portable, draw_normal)) draw_ = nullptr;
};

}  // namespace

std::unique_ptr<Kernel> make_random(const Program& p, const Instr& instr, const Device& device) { return std::make_unique<Random>(p, instr, device); }

}  // namespace cf::cpu
