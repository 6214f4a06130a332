// Runs one instruction outside a program: operands are vectors, the kernel comes from its factory, scratch and outputs end in guard words.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernel.h"
#include "guarded_scratch.h"

namespace cf::test {

using Dims = std::vector<uint32_t>;

/// A window on floats; empty strides mean dense.
struct Operand {
  std::vector<float>* data;
  Dims dims;
  Dims strides{};
  uint64_t offset = 0;
};

class Instruction {
 public:
  Instruction(Op op, cpu::Make make, std::vector<Operand> inputs, std::vector<Operand> outputs, std::vector<uint32_t> attrs, const cpu::Device& device) {
    Instr instr{op, 0, {}, {}, std::move(attrs)};
    program_.names.push_back("test");
    for (const Operand& o : inputs) instr.inputs.push_back(add(o));
    for (const Operand& o : outputs) instr.outputs.push_back(add(o));
    kernel_ = make(program_, instr, device);
    scratch_ = std::make_unique<GuardedScratch>(*kernel_, device.threads);
  }
  void run(const std::atomic<uint32_t>* cancel = nullptr) const {
    const uint64_t loops[kMaxLoops] = {};
    kernel_->run(cpu::Run(base_.data(), loops, scratch_->view(), cancel));
  }
  /// Was anything written behind the scratch?
  bool guard_intact() const { return scratch_->intact(); }
  const cpu::Kernel& kernel() const { return *kernel_; }

 private:
  uint32_t add(const Operand& o) {
    Tensor t{static_cast<uint32_t>(base_.size()), DType::f32, static_cast<uint32_t>(o.dims.size()), o.offset, {}, {}, {}};
    uint32_t stride = 1;
    for (size_t k = o.dims.size(); k-- > 0; stride *= o.dims[k]) {
      t.dims[k] = o.dims[k];
      t.strides[k] = o.strides.empty() ? stride : o.strides[k];
    }
    base_.push_back(reinterpret_cast<char*>(o.data->data()));
    program_.buffers.push_back({BufferKind::feed, DType::f32, 0, o.data->size() * 4, "", {}});
    program_.tensors.push_back(t);
    return t.buffer;
  }
  Program program_;
  std::vector<char*> base_;
  std::unique_ptr<cpu::Kernel> kernel_;
  std::unique_ptr<GuardedScratch> scratch_;
};

inline std::vector<float> normals(size_t n, std::mt19937& g, float scale = 1) {
  std::normal_distribution<float> d;
  std::vector<float> v(n);
  for (float& x : v) x = d(g) * scale;
  return v;
}

/// ‖a − b‖ / ‖b‖; infinite when a has a NaN.
inline double relative_error(const std::vector<float>& a, const std::vector<double>& b) {
  double e = 0, s = 0;
  for (size_t i = 0; i < b.size(); ++i) e += (a[i] - b[i]) * (a[i] - b[i]), s += b[i] * b[i];
  return std::isfinite(e) ? std::sqrt(e / (s > 0 ? s : 1)) : INFINITY;
}

}  // namespace cf::test
