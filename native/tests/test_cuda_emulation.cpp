// The host's stand-in for a GPU: what its blocks, barriers and shuffles do, and what they refuse.
#include <string>
#include <vector>

#include "check.h"
#include "cuda/emulation/compiler.h"

namespace {

using namespace cf::cuda;

const std::string kHead = "#include \"cuda/kernels/device.h\"\nstruct Args { const float* x; float* y; unsigned n; };\n";

struct Args {
  const float* x;
  float* y;
  unsigned n;
};

emulation::Grid grid(unsigned blocks, unsigned threads, bool cooperates, unsigned shared = 0) { return {{blocks, 1, 1}, {threads, 1, 1}, shared, cooperates}; }

std::string run(const std::string& body, const emulation::Grid& g, const Args& args) {
  const auto entries = emulation::compile({{kHead + body, g.cooperates != 0}});
  const char* error = entries[0](&g, &args);
  return error ? error : "";
}

void independent_threads() {
  std::vector<float> x(1000), y(1000, -1);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const std::string body = R"(CF_KERNEL(const Args a) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += gridDim.x * blockDim.x) a.y[i] = 2 * a.x[i];
})";
  CHECK(run(body, grid(3, 64, false), {x.data(), y.data(), 1000}).empty());
  bool right = true;
  for (size_t i = 0; i < x.size(); ++i) right = right && y[i] == 2 * x[i];
  CHECK(right);
}

void barriers_and_shuffles() {
  std::vector<float> x(512), y(4, -1);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7);
  const std::string body = R"(CF_KERNEL(const Args a) {
  __shared__ float parts[4];
  CF_DYNAMIC_SHARED(float, turned);
  turned[blockDim.x - 1 - threadIdx.x] = a.x[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  float v = turned[threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(cf::cuda::kWholeWarp, v, d);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0) a.y[blockIdx.x] = parts[0] + parts[1] + parts[2] + parts[3];
})";
  CHECK(run(body, grid(4, 128, true, 512), {x.data(), y.data(), 512}).empty());
  for (size_t b = 0; b < 4; ++b) {
    float sum = 0;
    for (size_t i = 0; i < 128; ++i) sum += x[b * 128 + i];
    CHECK(y[b] == sum);
  }
}

void exchanges() {
  std::vector<float> x(32), y(32);
  for (size_t i = 0; i < 32; ++i) x[i] = static_cast<float>(i);
  const std::string body = R"(CF_KERNEL(const Args a) {
  float v = a.x[threadIdx.x];
  for (int round = 0; round < 5; ++round) v = __shfl_xor_sync(cf::cuda::kWholeWarp, v, 1 << round);
  const unsigned even = __ballot_sync(cf::cuda::kWholeWarp, threadIdx.x % 2 == 0);
  a.y[threadIdx.x] = v + __shfl_sync(cf::cuda::kWholeWarp, v, 3) + (even == 0x55555555u ? 0.0f : 1000.0f);
})";
  CHECK(run(body, grid(1, 32, true), {x.data(), y.data(), 32}).empty());
  for (size_t i = 0; i < 32; ++i) CHECK(y[i] == static_cast<float>((31 - i) + 28));
}

void refusals() {
  std::vector<float> x(64), y(64);
  const Args args{x.data(), y.data(), 64};
  CHECK(!run("CF_KERNEL(const Args a) { if (threadIdx.x < 32) __syncthreads(); a.y[threadIdx.x] = 0; }", grid(1, 64, true), args).empty());
  CHECK(!run("CF_KERNEL(const Args a) { if (threadIdx.x == 5) return; a.y[threadIdx.x] = __shfl_sync(cf::cuda::kWholeWarp, a.x[0], 0); }", grid(1, 32, true), args).empty());
  CHECK(!run("CF_KERNEL(const Args a) { if (threadIdx.x < 32) __syncwarp(); else __syncthreads(); a.y[0] = 0; }", grid(1, 64, true), args).empty());
  CHECK(!run("CF_KERNEL(const Args a) { __syncthreads(); a.y[threadIdx.x] = 0; }", grid(1, 32, false), args).empty());
  CHECK_THROWS(cf::Code::internal, "does not compile", run("CF_KERNEL(const Args a) { no such thing }", grid(1, 32, false), args));
}

}  // namespace

int main() {
  independent_threads();
  barriers_and_shuffles();
  exchanges();
  refusals();
  return check::finish("test_cuda_emulation");
}
