// What an op family implements: a factory that validates and prepares everything once, and a Kernel whose run() neither allocates nor chooses.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/error.h"
#include "program/operands.h"
#include "program/program.h"

namespace cf::cpu {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2, amx = 3 };  ///< amx: AVX-512, and products of tiles (kernels/split_products.h)

/// Fixed for the life of a context.
struct Device {
  int threads = 1;
  Isa isa = Isa::portable;
  size_t l2_bytes = 1u << 20;  ///< per core
  bool winograd = true;
  bool emulate_tiles = false;  ///< for tests: products of tiles, in plain code, with the portable instruction set and AVX2
  bool tiles() const { return isa == Isa::amx || (emulate_tiles && isa < Isa::avx512); }
};

/// A kernel's scratch, 64-byte aligned, contents undefined: Kernel::scratch_bytes() for all its threads, and Kernel::own_bytes() for each.
struct ScratchMemory {
  char* shared;
  char* own;        ///< the first thread's
  size_t own_step;  ///< bytes from one thread's to the next one's
};

/// Where the data of one run lives. `base` holds one pointer per Program::buffers entry.
class Run {
 public:
  Run(char* const* base, const uint64_t* loops, const ScratchMemory& scratch, const std::atomic<uint32_t>* cancel, bool beside_others = false)
      : base_(base), loops_(loops), scratch_(scratch), cancel_(cancel), beside_others_(beside_others) {}

  float* f32(const Tensor& t) const noexcept { return reinterpret_cast<float*>(base_[t.buffer]) + index(t); }
  uint32_t* u32(const Tensor& t) const noexcept { return reinterpret_cast<uint32_t*>(base_[t.buffer]) + index(t); }
  char* scratch() const noexcept { return scratch_.shared; }
  char* own(size_t slot) const noexcept { return scratch_.own + slot * scratch_.own_step; }
  float* own_floats(size_t slot) const noexcept { return reinterpret_cast<float*>(own(slot)); }
  /// The other threads have work of their own: a kernel with a price() keeps to the one that calls it.
  bool beside_others() const noexcept { return beside_others_; }
  /// Iteration of the enclosing repeat at `level`.
  uint32_t loop(uint32_t level) const noexcept { return static_cast<uint32_t>(loops_[level]); }
  /// Long kernels ask this in their outer loop and return early.
  bool cancelled() const noexcept { return cancel_ && cancel_->load(std::memory_order_relaxed) != 0; }

 private:
  uint64_t index(const Tensor& t) const noexcept {
    uint64_t i = t.offset;
    for (uint32_t k = 0; k < kMaxLoops; ++k) i += loops_[k] * t.loop_strides[k];
    return i;
  }
  char* const* base_;
  const uint64_t* loops_;
  ScratchMemory scratch_;
  const std::atomic<uint32_t>* cancel_;
  bool beside_others_;
};

/// What a kernel takes by itself.
struct Price {
  double ns = 0;       ///< on one thread, roughly; 0: it has to run by itself
  bool serial = true;  ///< whether it uses one thread anyway
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  /// Uses Device::threads threads of the calling one's team (fewer where there is little to do, one beside others). Results depend on shapes and thread count only
  /// (bit-identical reruns): what is summed is split so, and only work whose results do not depend on who does it goes to whoever is free.
  virtual void run(const Run& run) const = 0;
  /// Scratch the kernel needs for all of its threads together.
  virtual size_t scratch_bytes() const { return 0; }
  /// Scratch of each thread, the same memory for all kernels, so that it stays in that core's cache: what another core wrote there would have to be fetched
  /// from it first.
  virtual size_t own_bytes() const { return 0; }
  /// Of kernels that may run beside others, each on the thread that calls it (Run::beside_others).
  virtual Price price() const { return {}; }
  /// Multiplications and additions of one run, for profiles.
  virtual double flops() const { return 0; }
};

/// Validates the operands of `instr` (throws Error{invalid_program} naming the op, what was expected and found) and prepares the kernel.
/// Tensors are copied into the kernel: the Program may be gone when it runs.
using Make = std::unique_ptr<Kernel> (*)(const Program& program, const Instr& instr, const Device& device);

// One factory per op, each defined in ops/<family>.cpp; `make_kernel` (registry.cpp) picks by Op.
std::unique_ptr<Kernel> make_map(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_reduce(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_matmul(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_conv(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_conv_data_grad(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_conv_weight_grad(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_winograd_weights(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_random(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_layer_norm(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_layer_norm_grad(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_attention(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_attention_grad(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_mixture(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_mixture_grad(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_mixture_inverse(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_matrix_inverse(const Program&, const Instr&, const Device&);
std::unique_ptr<Kernel> make_log_abs_det(const Program&, const Instr&, const Device&);

std::unique_ptr<Kernel> make_kernel(const Program& program, const Instr& instr, const Device& device);

}  // namespace cf::cpu
