// A GPU's stand-in for tests: launch lists run on the host, kernel texts compiled as C++ (shim.h), products and convolutions by plain loops.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <unordered_map>

#include "cuda/dependencies.h"
#include "cuda/emulation/compiler.h"
#include "cuda/emulation/machine.h"
#include "cuda/executable.h"

#include "common/error.h"
#include "coopflow.h"

namespace cf::cuda {
namespace {

using emulation::Entry;

/// The shim's threads live in globals of the compiled kernels: one grid at a time in the process.
std::mutex& grid_mutex() {
  static std::mutex mutex;
  return mutex;
}

struct EmulatedPrepared final : Prepared {
  std::vector<Entry> entries;
};

struct EmulatedGraph final : Graph {
  const LaunchList* list;
  const EmulatedPrepared* prepared;
  uint32_t begin, end;
  std::vector<std::vector<uint8_t>> args;  ///< of each launch, pointers filled in
  std::vector<uint32_t> order;             ///< of the launches
  Binding binding;
};

float* floats(const Binding& b, const Place& p) { return reinterpret_cast<float*>(b.at(p)); }

/// To the nearest number with `bits` fewer bits behind the point; ties to even.
float rounded(float v, int bits) {
  uint32_t u;
  std::memcpy(&u, &v, sizeof u);
  if ((u & 0x7f800000u) == 0x7f800000u) return v;
  u += (1u << (bits - 1)) - 1 + (u >> bits & 1u);
  u &= ~((1u << bits) - 1);
  std::memcpy(&v, &u, sizeof v);
  return v;
}

/// A factor as tensor cores take it.
float factor(float v, Precision precision) {
  return precision == Precision::float32 ? v : rounded(v, precision == Precision::tf32 ? 13 : 16);
}

void multiply(const Matmul& m, const Binding& binding, Precision precision) {
  std::vector<double> row(m.n);
  const float* const bias = m.has_bias ? floats(binding, m.bias) : nullptr;
  for (uint32_t batch = 0; batch < m.batch; ++batch) {
    const float* const a = floats(binding, m.a.place) + batch * m.a.batch_stride;
    const float* const b = floats(binding, m.b.place) + batch * m.b.batch_stride;
    float* const c = floats(binding, m.c.place) + batch * m.c.batch_stride;
    for (uint32_t i = 0; i < m.m; ++i) {
      for (uint32_t j = 0; j < m.n; ++j) row[j] = bias ? bias[j] : 0;
      for (uint32_t k = 0; k < m.k; ++k) {
        const double left = factor(a[i * m.a.row_stride + k * m.a.column_stride], precision);
        const float* const right = b + k * m.b.row_stride;
        for (uint32_t j = 0; j < m.n; ++j) row[j] += left * factor(right[j * m.b.column_stride], precision);
      }
      for (uint32_t j = 0; j < m.n; ++j) c[i * m.c.row_stride + j] = static_cast<float>(row[j]);
    }
  }
}

void convolve(const Convolution& v, const Binding& binding, Precision precision) {
  using Kind = Convolution::Kind;
  const uint64_t sizes[3] = {uint64_t{v.n} * v.oh * v.ow * v.o, uint64_t{v.n} * v.h * v.w * v.i, uint64_t{v.o} * v.kh * v.kw * v.i};
  char* const places[3] = {binding.at(v.y), binding.at(v.x), binding.at(v.weights)};
  const auto kind = static_cast<size_t>(v.kind);
  std::vector<float> operands[3];
  for (size_t p = 0; p < 3; ++p) {
    if (p == kind) continue;
    operands[p].resize(sizes[p]);
    for (uint64_t k = 0; k < sizes[p]; ++k) {
      if (!v.bf16) {
        // Where the operands are float32, even bfloat16 precision multiplies in TF32.
        operands[p][k] = factor(reinterpret_cast<const float*>(places[p])[k], precision == Precision::float32 ? precision : Precision::tf32);
        continue;
      }
      const uint32_t u = uint32_t{reinterpret_cast<const uint16_t*>(places[p])[k]} << 16;
      std::memcpy(&operands[p][k], &u, sizeof u);
    }
  }
  const std::vector<float>&y = operands[0], &x = operands[1], &w = operands[2];
  std::vector<double> sum(sizes[kind]);
  for (uint32_t n = 0; n < v.n; ++n)
    for (uint32_t r = 0; r < v.oh; ++r)
      for (uint32_t c = 0; c < v.ow; ++c)
        for (uint32_t kr = 0; kr < v.kh; ++kr)
          for (uint32_t kc = 0; kc < v.kw; ++kc) {
            const uint32_t in_r = r * v.stride + kr - v.padding, in_c = c * v.stride + kc - v.padding;
            if (in_r >= v.h || in_c >= v.w) continue;  // wraps round below 0
            const uint64_t from = ((uint64_t{n} * v.h + in_r) * v.w + in_c) * v.i, to = ((uint64_t{n} * v.oh + r) * v.ow + c) * v.o;
            for (uint32_t o = 0; o < v.o; ++o) {
              const uint64_t k = ((uint64_t{o} * v.kh + kr) * v.kw + kc) * v.i;
              for (uint32_t i = 0; i < v.i; ++i) {
                if (v.kind == Kind::forward) sum[to + o] += double{x[from + i]} * w[k + i];
                else if (v.kind == Kind::data_grad) sum[from + i] += double{y[to + o]} * w[k + i];
                else sum[k + i] += double{y[to + o]} * x[from + i];
              }
            }
          }
  for (uint64_t k = 0; k < sum.size(); ++k) {
    const auto result = static_cast<float>(sum[k]);
    if (!v.bf16) {
      reinterpret_cast<float*>(places[kind])[k] = result;
      continue;
    }
    const float half = rounded(result, 16);
    uint32_t u;
    std::memcpy(&u, &half, sizeof u);
    reinterpret_cast<uint16_t*>(places[kind])[k] = static_cast<uint16_t>(u >> 16);
  }
}

/// Launches from `begin` on in a random order that keeps to what they wait for, as a GPU that runs several at a time may start them.
std::vector<uint32_t> any_order(const std::vector<std::vector<uint32_t>>& before, uint32_t begin) {
  static std::atomic<uint32_t> captures{0};
  std::mt19937 random(captures++);
  std::vector<uint32_t> waits(before.size()), ready, order;
  std::vector<std::vector<uint32_t>> behind(before.size());
  for (uint32_t i = 0; i < before.size(); ++i) {
    waits[i] = static_cast<uint32_t>(before[i].size());
    for (const uint32_t d : before[i]) behind[d].push_back(i);
    if (waits[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    std::swap(ready[random() % ready.size()], ready.back());
    const uint32_t i = ready.back();
    ready.pop_back();
    order.push_back(begin + i);
    for (const uint32_t next : behind[i])
      if (--waits[next] == 0) ready.push_back(next);
  }
  return order;
}

class EmulatedMachine final : public Machine {
 public:
  EmulatedMachine(Precision precision, uint64_t memory) : memory_(memory) {
    target_.multiprocessors = 3, target_.precision = precision;
    if (memory == 0) target_.scratch_places = 3;
  }

  const Target& target() const override { return target_; }
  std::string describe() const override { return "a GPU emulated on the host, for tests"; }

  char* allocate(uint64_t bytes, const std::string& what) override {
    const std::lock_guard<std::mutex> hold(mutex_);
    void* p = nullptr;
    if ((memory_ > 0 && held_ + bytes > memory_) || posix_memalign(&p, 256, bytes) != 0) throw out_of_memory("the emulated GPU", what, bytes, free_now());
    std::memset(p, 0xff, bytes);  // NaN: undefined contents show
    sizes_[static_cast<char*>(p)] = bytes, held_ += bytes;
    return static_cast<char*>(p);
  }
  void release(char* p) noexcept override {
    const std::lock_guard<std::mutex> hold(mutex_);
    held_ -= sizes_[p];
    sizes_.erase(p);
    std::free(p);
  }
  FreeMemory free_memory() override {
    const std::lock_guard<std::mutex> hold(mutex_);
    return free_now();
  }
  void upload(char* to, const void* from, uint64_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const char* from, uint64_t bytes) override { std::memcpy(to, from, bytes); }
  void zero(char* p, uint64_t bytes) override { std::memset(p, 0, bytes); }

  std::unique_ptr<Prepared> prepare(const LaunchList& list) override {
    auto p = std::make_unique<EmulatedPrepared>();
    p->scratch_bytes = list.scratch_bytes;
    p->entries = emulation::compile(list.kernels);
    return p;
  }

  std::unique_ptr<Graph> capture(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) override {
    auto g = std::make_unique<EmulatedGraph>();
    g->list = &list, g->prepared = &static_cast<const EmulatedPrepared&>(prepared), g->begin = begin, g->end = end, g->binding = binding;
    for (uint32_t i = begin; i < end; ++i) {
      std::vector<uint8_t> args = list.launches[i].args;
      for (const Launch::Pointer& p : list.launches[i].pointers) {
        const char* const address = binding.at(p.place);
        std::memcpy(args.data() + p.at, &address, sizeof address);
      }
      g->args.push_back(std::move(args));
    }
    g->order = any_order(dependencies(list, binding, begin, end), begin);
    return g;
  }

  void launch(const Graph& graph) override {
    const auto& g = static_cast<const EmulatedGraph&>(graph);
    for (const uint32_t i : g.order) run(g, i);
  }

  void set_loop(const Binding& binding, uint32_t level, uint32_t value) override { reinterpret_cast<uint32_t*>(binding.loops)[level] = value; }
  void wait(uint32_t) override {}

  std::vector<double> time(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) override {
    const auto graph = capture(list, prepared, binding, begin, end);
    std::vector<double> seconds;
    for (uint32_t i = begin; i < end; ++i) {
      const auto start = std::chrono::steady_clock::now();
      run(static_cast<const EmulatedGraph&>(*graph), i);
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return seconds;
  }

 private:
  FreeMemory free_now() const { return {memory_ > 0 ? memory_ - held_ : 0, memory_}; }

  void run(const EmulatedGraph& g, uint32_t i) const {
    const Launch& l = g.list->launches[i];
    if (l.kind == Launch::Kind::matmul) return multiply(l.matmul, g.binding, target_.precision);
    if (l.kind == Launch::Kind::convolution) return convolve(l.convolution, g.binding, target_.precision);
    const emulation::Grid grid{{l.grid[0], l.grid[1], l.grid[2]}, {l.block[0], l.block[1], l.block[2]}, l.shared_bytes, g.list->kernels[l.kernel].cooperates};
    const std::lock_guard<std::mutex> hold(grid_mutex());
    if (const char* error = g.prepared->entries[l.kernel](&grid, g.args[i - g.begin].data())) throw Error(Code::internal, l.name, error);
  }

  const uint64_t memory_;
  Target target_;
  std::mutex mutex_;
  std::unordered_map<char*, uint64_t> sizes_;
  uint64_t held_ = 0;
};

/// Bytes that COOPFLOW_EMULATED_MEMORY says: a GPU with little memory.
uint64_t emulated_memory() {
  const char* value = std::getenv("COOPFLOW_EMULATED_MEMORY");
  return value ? std::strtoull(value, nullptr, 10) : 0;
}

}  // namespace

std::shared_ptr<Machine> emulated_machine(Precision precision, uint64_t memory) { return std::make_shared<EmulatedMachine>(precision, memory); }

}  // namespace cf::cuda

extern "C" __attribute__((visibility("default"))) int32_t cf_plugin_open(const char* build, uint32_t ordinal, uint32_t flags, std::shared_ptr<cf::Backend>* out,
                                                                          cf_error* err) {
  const char* problem = std::strcmp(build, CF_BUILD_ID) != 0 ? "the emulated device is of another build than the library"
                        : ordinal != 0                        ? "expected the device cuda:0, the only one that is emulated"
                                                              : nullptr;
  if (problem) {
    err->code = CF_UNSUPPORTED;
    std::snprintf(err->op, sizeof err->op, "cf_context_create");
    std::snprintf(err->message, sizeof err->message, "%s", problem);
    return CF_UNSUPPORTED;
  }
  *out = cf::cuda::make_backend(cf::cuda::emulated_machine(cf::cuda::precision_of(flags), cf::cuda::emulated_memory()), "cuda:0", flags, true);
  return CF_OK;
}
