// Speed of attention and its gradient: bench_attention [threads] [isa 0..2]. Every figure is the best of many runs, because other work on the machine only
// ever makes a run slower.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "cpu/device.h"
#include "dense_op.h"

using namespace cf;
using namespace cf::test;

namespace {

bool cpu_time = false;

/// Wall time; with one thread, its CPU time, which other work on the machine disturbs less.
double now() {
#if defined(__linux__)
  if (cpu_time) {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double best_of(DenseOp& op) {
  double best = 1e9;
  const double end = now() + 0.3;
  for (int n = 0; n < 5 || now() < end; ++n) {
    const double t = now();
    op.run_only();
    best = std::min(best, now() - t);
  }
  return best;
}

void attention(uint32_t n, uint32_t length, uint32_t d, float p, const cpu::Device& device) {
  std::mt19937 g(1);
  const uint32_t heads = 4, c = heads * d;
  const Array kvq = normal({n, length, 3 * c}, g), dout = normal({n, length, c}, g), key = Array::key(1, 2, 3);
  Array out({n, length, c}), lse({n, heads, length}), kept = Array::words({n, heads, (length * length + 31) / 32}), dkvq({n, length, 3 * c});
  std::vector<const Array*> in{&kvq}, gin{&kvq, &out, &lse, &dout};
  std::vector<Array*> results{&out, &lse};
  if (p > 0) in.push_back(&key), results.push_back(&kept), gin.push_back(&kept);
  DenseOp forward(Op::attention, cpu::make_attention, in, results, {heads, bits_of(p), 1, 0}, device);
  forward.run();
  DenseOp backward(Op::attention_grad, cpu::make_attention_grad, gin, {&dkvq}, {heads, bits_of(p)}, device);
  std::printf("%2u images, %3u positions, heads of %2u, dropout %.1f:", n, length, d, static_cast<double>(p));
  for (DenseOp* op : {&forward, &backward}) {
    const double t = best_of(*op);
    std::printf("  %s %7.3f ms (%3.0f GFLOP/s)", op == &forward ? "forward" : "gradient", t * 1e3, op->kernel().flops() / t / 1e9);
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const cpu::Device d = cpu::make_device(argc > 1 ? std::atoi(argv[1]) : 0, argc > 2 ? std::atoi(argv[2]) : -1, true);
  cpu_time = d.threads == 1;
  std::printf("%d threads, %s\n", d.threads, cpu::isa_name(d.isa));
  for (const float p : {0.0f, 0.2f}) {
    attention(16, 512, 8, p, d), attention(16, 128, 8, p, d);
    attention(4, 512, 24, p, d), attention(4, 128, 24, p, d);
    attention(64, 32, 8, p, d), attention(64, 8, 8, p, d);
  }
}
