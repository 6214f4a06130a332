// A GPU's stand-in for tests: launch lists run on the host, kernel texts compiled as C++ (shim.h), products and convolutions by plain loops.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>

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
  Binding binding;
};

float* floats(const Binding& b, const Place& p) { return reinterpret_cast<float*>(b.at(p)); }

void multiply(const Matmul& m, const Binding& binding) {
  std::vector<double> row(m.n);
  const float* const bias = m.has_bias ? floats(binding, m.bias) : nullptr;
  for (uint32_t batch = 0; batch < m.batch; ++batch) {
    const float* const a = floats(binding, m.a.place) + batch * m.a.batch_stride;
    const float* const b = floats(binding, m.b.place) + batch * m.b.batch_stride;
    float* const c = floats(binding, m.c.place) + batch * m.c.batch_stride;
    for (uint32_t i = 0; i < m.m; ++i) {
      for (uint32_t j = 0; j < m.n; ++j) row[j] = bias ? bias[j] : 0;
      for (uint32_t k = 0; k < m.k; ++k) {
        const double left = a[i * m.a.row_stride + k * m.a.column_stride];
        const float* const right = b + k * m.b.row_stride;
        for (uint32_t j = 0; j < m.n; ++j) row[j] += left * right[j * m.b.column_stride];
      }
      for (uint32_t j = 0; j < m.n; ++j) c[i * m.c.row_stride + j] = static_cast<float>(row[j]);
    }
  }
}

void convolve(const Convolution& v, const Binding& binding) {
  float *const x = floats(binding, v.x), *const w = floats(binding, v.weights), *const y = floats(binding, v.y);
  using Kind = Convolution::Kind;
  const uint64_t sizes[3] = {uint64_t{v.n} * v.oh * v.ow * v.o, uint64_t{v.n} * v.h * v.w * v.i, uint64_t{v.o} * v.kh * v.kw * v.i};
  float* const results[3] = {y, x, w};
  const auto kind = static_cast<size_t>(v.kind);
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
  std::transform(sum.begin(), sum.end(), results[kind], [](double s) { return static_cast<float>(s); });
}

class EmulatedMachine final : public Machine {
 public:
  EmulatedMachine() { target_.multiprocessors = 3; }

  const Target& target() const override { return target_; }
  std::string describe() const override { return "a GPU emulated on the host, for tests"; }

  char* allocate(uint64_t bytes, const std::string& what) override {
    void* p = nullptr;
    if (posix_memalign(&p, 256, bytes) != 0) throw Error(Code::out_of_memory, "memory", "not enough memory for " + what + ": " + std::to_string(bytes) + " bytes were asked for");
    std::memset(p, 0xff, bytes);  // NaN: undefined contents show
    return static_cast<char*>(p);
  }
  void release(char* p) noexcept override { std::free(p); }
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
    return g;
  }

  void launch(const Graph& graph) override {
    const auto& g = static_cast<const EmulatedGraph&>(graph);
    for (uint32_t i = g.begin; i < g.end; ++i) run(g, i);
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
  static void run(const EmulatedGraph& g, uint32_t i) {
    const Launch& l = g.list->launches[i];
    if (l.kind == Launch::Kind::matmul) return multiply(l.matmul, g.binding);
    if (l.kind == Launch::Kind::convolution) return convolve(l.convolution, g.binding);
    const emulation::Grid grid{{l.grid[0], l.grid[1], l.grid[2]}, {l.block[0], l.block[1], l.block[2]}, l.shared_bytes, g.list->kernels[l.kernel].cooperates};
    const std::lock_guard<std::mutex> hold(grid_mutex());
    if (const char* error = g.prepared->entries[l.kernel](&grid, g.args[i - g.begin].data())) throw Error(Code::internal, l.name, error);
  }

  Target target_;
};

}  // namespace

std::shared_ptr<Machine> emulated_machine() { return std::make_shared<EmulatedMachine>(); }

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
  *out = cf::cuda::make_backend(cf::cuda::emulated_machine(), "cuda:0", !(flags & CF_NO_WINOGRAD), true);
  return CF_OK;
}
