// Runs one op whose operands are all dense: on every instruction set of this machine, with scratch and outputs that end in guard words.
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

inline int failures = 0;

/// printf-style message when `ok` is false.
template <class... A>
void check(bool ok, const char* format, A... a) {
  if (ok) return;
  ++failures;
  std::printf("FAILED: ");
  if constexpr (sizeof...(A) == 0)
    std::printf("%s", format);
  else
    std::printf(format, a...);
  std::printf("\n");
}
inline int finish(const char* name) {
  std::printf("%s: %s\n", name, failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}

struct Array {
  Dims dims;
  std::vector<float> data;
  DType type = DType::f32;
  explicit Array(Dims d = {}) : dims(std::move(d)), data(count(), 0.0f) {}
  static Array key(uint32_t a, uint32_t b, uint32_t c) {
    Array k({4});
    k.type = DType::u32;
    const uint32_t words[4] = {a, b, c, 0};
    std::memcpy(k.data.data(), words, sizeof words);
    return k;
  }
  static Array words(Dims d) {
    Array a(std::move(d));
    a.type = DType::u32;
    return a;
  }
  size_t count() const {
    size_t n = 1;
    for (uint32_t d : dims) n *= d;
    return n;
  }
  float& operator[](size_t i) { return data[i]; }
  float operator[](size_t i) const { return data[i]; }
};

inline Array normal(Dims dims, std::mt19937& g, float scale = 1, float mean = 0) {
  Array a(std::move(dims));
  std::normal_distribution<float> d;
  for (float& x : a.data) x = mean + scale * d(g);
  return a;
}
inline uint32_t bits_of(float f) {
  uint32_t b;
  std::memcpy(&b, &f, 4);
  return b;
}

inline std::vector<cpu::Isa> isas() {
  std::vector<cpu::Isa> r{cpu::Isa::portable};
#if defined(CF_X86)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) r.push_back(cpu::Isa::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    r.push_back(cpu::Isa::avx512);
#endif
  return r;
}
inline cpu::Device device(cpu::Isa isa, int threads) {
  cpu::Device d;
  d.isa = isa, d.threads = threads;
  return d;
}
/// f(device, "avx2, 3 threads") for every instruction set with 1 to 3 threads.
template <class F>
void for_devices(F&& f) {
  const char* names[] = {"portable", "avx2", "avx512"};
  for (cpu::Isa isa : isas())
    for (int threads = 1; threads <= 3; ++threads)
      f(device(isa, threads), std::string(names[static_cast<int>(isa)]) + ", " + std::to_string(threads) + " threads");
}

/// Prepared once, run as often as wanted.
class DenseOp {
 public:
  DenseOp(Op op, cpu::Make make, const std::vector<const Array*>& inputs, const std::vector<Array*>& outputs, std::vector<uint32_t> attrs,
          const cpu::Device& device)
      : outputs_(outputs) {
    Instr instr{op, 0, {}, {}, std::move(attrs)};
    program_.names.push_back("layer");
    for (const Array* a : inputs) instr.inputs.push_back(add(*a, const_cast<float*>(a->data.data())));
    for (Array* a : outputs) {
      guarded_.emplace_back(a->count() + kGuard, kUnwritten);
      instr.outputs.push_back(add(*a, guarded_.back().data()));
    }
    kernel_ = make(program_, instr, device);
    scratch_ = std::make_unique<GuardedScratch>(*kernel_, device.threads);
  }
  /// Copies the results into the outputs.
  void run(const std::atomic<uint32_t>* cancel = nullptr) {
    run_only(cancel);
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const size_t n = outputs_[i]->count();
      std::copy(guarded_[i].begin(), guarded_[i].begin() + static_cast<std::ptrdiff_t>(n), outputs_[i]->data.begin());
      for (size_t k = n; k < n + kGuard; ++k) check(guarded_[i][k] == kUnwritten, "output %zu: written behind its end", i);
    }
    check(scratch_->intact(), "written behind the scratch");
  }
  void run_only(const std::atomic<uint32_t>* cancel = nullptr) {
    const uint64_t loops[kMaxLoops] = {3, 0, 0};
    kernel_->run(cpu::Run(base_.data(), loops, scratch_->view(), cancel));
  }
  const cpu::Kernel& kernel() const { return *kernel_; }

 private:
  static constexpr size_t kGuard = 16;
  static constexpr float kUnwritten = -12345.75f;

  uint32_t add(const Array& a, float* data) {
    Tensor t{static_cast<uint32_t>(base_.size()), a.type, static_cast<uint32_t>(a.dims.size()), 0, {}, {}, {}};
    uint32_t stride = 1;
    for (size_t k = a.dims.size(); k-- > 0; stride *= a.dims[k]) t.dims[k] = a.dims[k], t.strides[k] = stride;
    base_.push_back(reinterpret_cast<char*>(data));
    program_.buffers.push_back({BufferKind::feed, a.type, 0, a.count() * 4, "", {}});
    program_.tensors.push_back(t);
    return t.buffer;
  }
  Program program_;
  std::vector<Array*> outputs_;
  std::vector<std::vector<float>> guarded_;
  std::vector<char*> base_;
  std::unique_ptr<cpu::Kernel> kernel_;
  std::unique_ptr<GuardedScratch> scratch_;
};

/// Throws invalid_program?
template <class F>
bool refused(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code() == Code::invalid_program;
  }
  return false;
}

/// Largest |a − b| over the largest |b|; infinite when a has a NaN.
inline double relative(const Array& a, const std::vector<double>& b) {
  double worst = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double e = std::fabs(a[i] - b[i]);
    if (!std::isfinite(e)) return INFINITY;
    worst = e > worst ? e : worst;
    size = std::fabs(b[i]) > size ? std::fabs(b[i]) : size;
  }
  return worst / (size > 0 ? size : 1);
}
inline bool same_bits(const Array& a, const Array& b) { return a.dims == b.dims && std::memcmp(a.data.data(), b.data.data(), a.data.size() * 4) == 0; }

}  // namespace cf::test
