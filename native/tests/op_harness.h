// Runs one instruction over operands of any strides, on any instruction set and thread count, in memory of exactly the size that it may touch.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cpu/device.h"
#include "cpu/kernel.h"

namespace cf::test {

using Random = std::mt19937;
constexpr size_t kMostThreads = 3;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Block = std::unique_ptr<char, Free>;

inline Block block(size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0) std::abort();
  std::memset(p, 0xa5, bytes);
  return Block(static_cast<char*>(p));
}

/// Visits every index of `dims` in row-major order.
template <class F>
void each_index(const Tensor& t, F&& f) {
  std::array<uint32_t, kMaxRank> at{};
  for (uint64_t n = t.elements(); n > 0; --n) {
    f(at);
    for (uint32_t k = t.rank; k-- > 0;) {
      if (++at[k] < t.dims[k]) break;
      at[k] = 0;
    }
  }
}

inline uint64_t position(const Tensor& t, const std::array<uint32_t, kMaxRank>& at) {
  uint64_t p = t.offset;
  for (uint32_t k = 0; k < t.rank; ++k) p += uint64_t{at[k]} * t.strides[k];
  return p;
}

/// A tensor in a buffer of its own: dimensions in `order` of memory, `broadcast` ones with stride 0, gaps where `gap` > 1.
inline uint32_t place(Program& p, const std::vector<uint32_t>& dims, const std::vector<uint32_t>& order, uint32_t broadcast, uint32_t gap, uint64_t offset) {
  Tensor t{static_cast<uint32_t>(p.buffers.size()), DType::f32, static_cast<uint32_t>(dims.size()), offset, {}, {}, {}};
  t.dims.fill(1);
  uint64_t stride = gap, last = offset;
  for (size_t k = order.size(); k-- > 0;) {
    const uint32_t d = order[k];
    t.dims[d] = dims[d];
    if (broadcast >> d & 1) continue;
    t.strides[d] = static_cast<uint32_t>(stride);
    last += stride * (dims[d] - 1);
    stride = stride * dims[d] + (gap > 1 ? gap : 0);
  }
  p.buffers.push_back({BufferKind::arena, DType::f32, 0, (last + 1) * 4, "", {}});
  p.tensors.push_back(t);
  return static_cast<uint32_t>(p.tensors.size() - 1);
}

class Memories {
 public:
  explicit Memories(const Program& p) {
    for (const Buffer& b : p.buffers) {
      blocks_.push_back(block(b.bytes));
      bytes_.push_back(b.bytes);
      base_.push_back(blocks_.back().get());
    }
  }
  Memories(const Memories& other) : bytes_(other.bytes_) {
    for (size_t i = 0; i < bytes_.size(); ++i) {
      blocks_.push_back(block(bytes_[i]));
      std::memcpy(blocks_.back().get(), other.base_[i], bytes_[i]);
      base_.push_back(blocks_.back().get());
    }
  }
  Memories(Memories&&) = default;
  Memories& operator=(Memories&&) = default;
  float* f32(const Tensor& t) { return reinterpret_cast<float*>(base_[t.buffer]); }
  void alias(uint32_t buffer, uint32_t to) { base_[buffer] = base_[to]; }
  void randomise(Random& random, float low, float high) {
    std::uniform_real_distribution<float> draw(low, high);
    for (size_t i = 0; i < bytes_.size(); ++i)
      for (uint64_t k = 0; k < bytes_[i] / 4; ++k) reinterpret_cast<float*>(base_[i])[k] = draw(random);
  }
  bool same(const Memories& other) const {
    for (size_t i = 0; i < bytes_.size(); ++i)
      if (std::memcmp(base_[i], other.base_[i], bytes_[i]) != 0) return false;
    return true;
  }
  void run(const cpu::Kernel& kernel, std::array<uint64_t, kMaxLoops> loops = {}) {
    const size_t step = (kernel.own_bytes() + 63) / 64 * 64;
    const Block shared = block(kernel.scratch_bytes()), own = block(kMostThreads * step);
    kernel.run(cpu::Run(base_.data(), loops.data(), {shared.get(), own.get(), step}, nullptr));
  }

 private:
  std::vector<Block> blocks_;
  std::vector<uint64_t> bytes_;
  std::vector<char*> base_;
};

inline cpu::Device device(cpu::Isa isa, int threads) {
  cpu::Device d;
  d.isa = isa;
  d.threads = threads;
  return d;
}

inline std::vector<uint32_t> random_dims(Random& random, uint64_t most) {
  const uint32_t sizes[] = {1, 2, 2, 3, 4, 5, 7, 8, 12, 16, 31, 33, 64, 100, 257, 600, 2100, 5000};
  std::vector<uint32_t> dims(random() % 6);
  uint64_t n = 1;
  for (uint32_t& d : dims) {
    do d = sizes[random() % (sizeof sizes / sizeof *sizes)];
    while (n * d > most);
    n *= d;
  }
  std::shuffle(dims.begin(), dims.end(), random);
  return dims;
}

inline std::vector<uint32_t> random_order(Random& random, size_t rank, bool shuffled) {
  std::vector<uint32_t> order(rank);
  std::iota(order.begin(), order.end(), 0u);
  if (shuffled) std::shuffle(order.begin(), order.end(), random);
  return order;
}

}  // namespace cf::test
