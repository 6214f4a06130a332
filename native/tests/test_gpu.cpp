// What the GPU backend does beyond the launch lists: finding libraries, compiling, caching; and, where there is a GPU, its machine against the host's emulation.
//
//   test_gpu [--expect-gpu]   everything that can run here; fails without a GPU if one is expected
//   test_gpu FILE…        compiles the kernels of these programs (.cfp), and these kernels (.cu), for each kind of GPU, nothing else
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "check.h"
#include "cuda/emulation/machine.h"
#include "cuda/gpu/compiler.h"
#include "cuda/gpu/machine.h"
#include "program/decode.h"

using namespace cf;
using namespace cf::cuda;

namespace {

namespace fs = std::filesystem;

constexpr int kNewest = 13;
constexpr int kArchs[][2] = {{8, 0}, {9, 0}};

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int compile_files(int count, char** files) {
  std::set<std::string> distinct;
  try {
    for (int i = 0; i < count; ++i) {
      const std::string content = read(files[i]);
      if (fs::path(files[i]).extension() == ".cu") {
        distinct.insert(content);
        continue;
      }
      const Program program = decode(reinterpret_cast<const uint8_t*>(content.data()), content.size());
      for (const Precision precision : {Precision::float32, Precision::bf16}) {
        Target target;
        target.precision = precision;
        for (const Kernel& k : lower(program, target).kernels) distinct.insert(k.text);
      }
    }
    const std::vector<std::string> texts(distinct.begin(), distinct.end());
    for (const auto& arch : kArchs) {
      const auto cubins = gpu::Compiler(gpu::nvrtc(kNewest), arch[0], arch[1], gpu::DiskCache()).compile(texts);
      size_t bytes = 0;
      for (const std::string& cubin : cubins) bytes += cubin.size();
      std::printf("sm_%d%d: %zu kernels, %zu bytes\n", arch[0], arch[1], cubins.size(), bytes);
    }
    return 0;
  } catch (const Error& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}

struct TemporaryFolder {
  TemporaryFolder() : path(fs::temp_directory_path() / ("coopflow-test-" + std::to_string(getpid()))) { fs::create_directories(path); }
  ~TemporaryFolder() { fs::remove_all(path); }
  const fs::path path;
};

void disk_cache() {
  const TemporaryFolder folder;
  const gpu::DiskCache cache(folder.path.string() + "/deep/er");
  CHECK(!cache.get("a"));
  cache.put("a", "value");
  cache.put("b", std::string("\0x\0", 3));
  CHECK(cache.get("a") == "value");
  CHECK(cache.get("b") == std::string("\0x\0", 3));
  cache.put("a", "another");
  CHECK(cache.get("a") == "another");
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path / "deep/er")) {
    ++files;
    std::string content = read(entry.path());
    content.back() ^= 1;
    std::ofstream(entry.path(), std::ios::binary) << content;
  }
  CHECK(files == 2);
  CHECK(!cache.get("a"));
  cache.put("a", "again");
  CHECK(cache.get("a") == "again");
  for (const auto& entry : fs::directory_iterator(folder.path / "deep/er")) fs::resize_file(entry.path(), 20);
  CHECK(!cache.get("a") && !cache.get("b"));
  const gpu::DiskCache none("");
  none.put("a", "value");
  CHECK(!none.keeps() && !none.get("a"));
}

const std::string kHead = "#include \"cuda/kernels/device.h\"\n";

void compiler() {
  const TemporaryFolder folder;
  const gpu::DiskCache cache(folder.path.string());
  const std::string text = kHead + R"(struct Args { float* y; uint32_t n; };
CF_KERNEL(const Args a) {
  CF_DYNAMIC_SHARED(float, s);
  uint32_t words[4];
  cf::philox_at(1, 2, threadIdx.x, 3, 4, 5, words);
  s[threadIdx.x] = cf::uniform_from(words[0]);
  __syncthreads();
  if (threadIdx.x < a.n) a.y[threadIdx.x] = s[a.n - 1 - threadIdx.x];
})";
  for (const auto& arch : kArchs) {
    const gpu::Compiler c(gpu::nvrtc(kNewest), arch[0], arch[1], cache);
    const auto cubins = c.compile({text, text + "\n"});
    CHECK(cubins.size() == 2 && cubins[0].substr(1, 3) == "ELF");
    CHECK(c.compile({text})[0] == cubins[0]);
  }
  // A GPU that came after this NVRTC is given PTX.
  CHECK(gpu::Compiler(gpu::nvrtc(kNewest), 99, 0, cache).compile({text})[0].find(".target") != std::string::npos);
  CHECK_THROWS(Code::unsupported, "compute capability 3.5", gpu::Compiler(gpu::nvrtc(kNewest), 3, 5, cache));
  CHECK_THROWS(Code::internal, "no_such_thing", gpu::Compiler(gpu::nvrtc(kNewest), 9, 0, cache).compile({kHead + "CF_KERNEL(const int a) { no_such_thing(a); }"}));
}

void libraries() {
  CHECK(gpu::nvrtc(kNewest).major >= 12);
  CHECK(gpu::describe(gpu::blas(kNewest)).rfind("cuBLASLt 1", 0) == 0);
  CHECK(gpu::describe(gpu::dnn(kNewest)).rfind("cuDNN 9.", 0) == 0);
}

// ---- with a GPU -----------------------------------------------------------------------------------------------------

/// Memory of `bytes` on a machine, filled with the same numbers on each.
struct Filled {
  Filled(Machine& m, uint64_t count) : machine(m), host(count), data(m.allocate(4 * count, "a test")) {
    uint32_t state = 12345;
    for (float& v : host) state = state * 1664525u + 1013904223u, v = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
    m.upload(data, host.data(), 4 * count);
  }
  ~Filled() { machine.release(data); }
  std::vector<float> now() {
    machine.download(host.data(), data, 4 * host.size());
    return host;
  }
  Machine& machine;
  std::vector<float> host;
  char* data;
};

constexpr uint64_t kElements = 3u << 20;  // 12 MB: copies take several stagings

/// The whole memory after the list has run `passes` times around a loop.
std::vector<float> run(Machine& machine, const LaunchList& list, uint32_t passes) {
  Filled memory(machine, kElements);
  Filled loops(machine, kMaxLoops);
  const auto prepared = machine.prepare(list);
  Filled scratch(machine, prepared->scratch_bytes / 4 + 64);
  const Binding binding{{memory.data}, scratch.data, loops.data};
  const auto graph = machine.capture(list, *prepared, binding, 0, static_cast<uint32_t>(list.launches.size()));
  for (uint32_t t = 0; t < passes; ++t) {
    machine.set_loop(binding, 0, t);
    machine.launch(*graph);
    machine.wait(2);
  }
  machine.wait(0);
  const auto seconds = machine.time(list, *prepared, binding, 0, static_cast<uint32_t>(list.launches.size()));
  CHECK(seconds.size() == list.launches.size() && seconds[0] >= 0);
  return memory.now();
}

constexpr uint32_t kPasses = 3;

void compare(Machine& device, const LaunchList& list, const std::vector<float>& expected, const std::string& what) {
  const std::vector<float> found = run(device, list, kPasses), again = run(device, list, kPasses);
  CHECK(found == again);
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::fabs(double{expected[i]} - found[i]) / (1 + std::fabs(double{expected[i]})));
  if (!(worst <= 1e-4)) std::printf("%s: relative error %g\n", what.c_str(), worst);
  CHECK(worst <= 1e-4);
}

/// With the host's emulation, which does products and convolutions without a compiler.
void compare(Machine& device, const LaunchList& list, const std::string& what) { compare(device, list, run(*emulated_machine(), list, kPasses), what); }

Place at(uint64_t element) { return {Place::Kind::buffer, 0, 4 * element}; }

constexpr uint64_t kA = 0, kB = 1u << 20, kC = 2u << 20;

void products(Machine& device) {
  for (const uint32_t batch : {1u, 3u})
    for (const bool bias : {false, true})
      for (const auto& [m, n, k] : std::vector<std::array<uint32_t, 3>>{{1, 1, 1}, {64, 96, 32}, {7, 5, 3}, {1, 33, 40}, {129, 1, 17}, {50, 24, 1}})
        for (int transposes = 0; transposes < 4; ++transposes) {
          LaunchList list;
          Launch l;
          l.kind = Launch::Kind::matmul, l.name = "matmul";
          Matmul& p = l.matmul;
          p.batch = batch, p.m = m, p.n = n, p.k = k;
          p.a = transposes & 1 ? Matmul::Operand{at(kA + 1), uint64_t{m} * k, 1, m} : Matmul::Operand{at(kA), uint64_t{m} * (k + 4), k + 4, 1};
          p.b = transposes & 2 ? Matmul::Operand{at(kB), 0, 1, k + 2} : Matmul::Operand{at(kB + 4), uint64_t{n} * k, n, 1};
          p.c = {at(kC), uint64_t{m} * (n + 3), n + 3, 1};
          p.has_bias = bias, p.bias = at(kC - 256);
          list.launches.push_back(l);
          compare(device, list, "product " + std::to_string(m) + "×" + std::to_string(n) + "×" + std::to_string(k));
        }
}

void convolutions(Machine& device) {
  using Kind = Convolution::Kind;
  for (const Kind kind : {Kind::forward, Kind::data_grad, Kind::weight_grad})
    for (const auto& [size, in, out, kernel, stride, padding] : std::vector<std::array<uint32_t, 6>>{{8, 3, 16, 4, 2, 1}, {9, 16, 5, 3, 1, 1}, {8, 32, 64, 4, 1, 0}, {6, 1, 8, 5, 1, 2}}) {
      const uint32_t to = (size + 2 * padding - kernel) / stride + 1;
      LaunchList list;
      Launch l;
      l.kind = Launch::Kind::convolution, l.name = "convolution";
      l.convolution = {kind, false, 4, size, size, in, to, to, out, kernel, kernel, stride, padding, at(kA), at(kB), at(kC)};
      list.launches.push_back(l);
      compare(device, list, "convolution");
    }
}

/// y[loop] += x, with more shared memory than a block has without asking.
void kernels(Machine& device) {
  struct Args {
    char *memory, *loops;
    uint32_t n;
  } args{nullptr, nullptr, 1000};
  LaunchList list;
  Launch l;
  l.kind = Launch::Kind::kernel, l.name = "add";
  l.kernel = list.kernel({kHead + R"(struct Args { float* y; const uint32_t* loops; uint32_t n; };
CF_KERNEL(const Args a) {
  CF_DYNAMIC_SHARED(float, s);
  s[20000 + threadIdx.x] = static_cast<float>(a.loops[0] + threadIdx.x);
  __syncthreads();
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < a.n) a.y[i] += s[20000 + threadIdx.x];
})",
                          true});
  l.grid = {8, 1, 1}, l.block = {128, 1, 1}, l.shared_bytes = 4 * 20128;
  l.args.resize(sizeof args);
  std::memcpy(l.args.data(), &args, sizeof args);
  l.pointers = {{offsetof(Args, memory), at(0)}, {offsetof(Args, loops), {Place::Kind::loops, 0, 0}}};
  list.launches.push_back(l);
  std::vector<float> expected = Filled(device, kElements).host;
  // One pass more than those of the loop: timing runs the list too, with the last pass's counter.
  for (const uint32_t loop : {0u, 1u, 2u, 2u})
    for (uint32_t i = 0; i < args.n; ++i) expected[i] += static_cast<float>(loop + i % 128);
  compare(device, list, expected, "kernel");
}

void refusals(gpu::GpuMachine& device) {
  CHECK_THROWS(Code::out_of_memory, "a test", device.allocate(1ull << 50, "a test"));
  CHECK_THROWS(Code::unsupported, "cuda:999", gpu::GpuMachine(999, Precision::float32));
}

void with_gpu(bool expected) {
  std::unique_ptr<gpu::GpuMachine> device;
  try {
    device = std::make_unique<gpu::GpuMachine>(0, Precision::float32);
  } catch (const Error& e) {
    CHECK(e.code() == Code::unsupported && !expected);
    std::printf("no GPU: %s\n", e.what());
    return;
  }
  std::printf("%s\n", device->describe().c_str());
  kernels(*device);
  products(*device);
  convolutions(*device);
  refusals(*device);
}

}  // namespace

int main(int count, char** arguments) {
  const bool expected = count == 2 && std::string(arguments[1]) == "--expect-gpu";
  if (count > 1 && !expected) return compile_files(count - 1, arguments + 1);
  disk_cache();
  libraries();
  compiler();
  with_gpu(expected);
  return check::finish("test_gpu");
}
