// Speed of products and convolutions beside oneDNN's, in GFLOP/s counted as direct convolution: bench_conv [threads] [isa 0..3] [filter].
// Every figure is the best of many runs, alternating between the candidates, because other work on the machine only ever makes a run slower.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>

#include "conv_harness.h"
#include "cpu/device.h"
#include "cpu/onednn.h"
#include "cpu/ops/conv.h"

using namespace cf;
using namespace cf::test;

namespace {

bool cpu_time = false;

/// Wall time; with one thread, its CPU time, which other work on the machine disturbs less.
double seconds() {
#if defined(__linux__)
  if (cpu_time) {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
uint32_t u(size_t n) { return static_cast<uint32_t>(n); }

struct Candidate {
  const char* name;
  std::function<void()> run;
  double best = 1e9;
};

void race(const std::string& what, double flops, std::vector<Candidate> candidates) {
  for (Candidate& c : candidates) c.run();
  const double end = seconds() + 0.4;
  for (int round = 0; round < 5 || (seconds() < end && round < 2000); ++round)
    for (Candidate& c : candidates) {
      const double t = seconds();
      c.run();
      c.best = std::min(c.best, seconds() - t);
    }
  std::printf("%-42s", what.c_str());
  for (const Candidate& c : candidates) std::printf("  %s %6.0f (%.3f ms)", c.name, flops / c.best / 1e9, c.best * 1e3);
  std::printf("\n");
  std::fflush(stdout);
}

struct Scratched {
  std::unique_ptr<cpu::onednn::Primitive> primitive;
  std::vector<char> scratch;
  explicit Scratched(std::unique_ptr<cpu::onednn::Primitive> p) : primitive(std::move(p)), scratch(primitive->scratch_bytes() + 64) {}
  char* aligned() { return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64); }
};

void convolution(const ConvShape& s, const cpu::Device& d, const std::string& filter) {
  std::mt19937 g(1);
  const Dims in{u(s.n), u(s.h), u(s.w), u(s.i)}, out{u(s.n), u(s.oh), u(s.ow), u(s.o)}, kernel{u(s.o), u(s.i), u(s.kh), u(s.kw)};
  std::vector<float> x = normals(s.n * s.h * s.w * s.i, g), w = normals(s.o * s.i * s.taps(), g), dy = normals(s.n * s.oh * s.ow * s.o, g);
  std::vector<float> y(dy.size()), dx(x.size()), dw(w.size());
  // In the form that the compiler asks for (src/compile/lower_ops.ts).
  const auto size_of = [&](size_t summed, size_t produced) {
    const size_t parts = winograd_parts_size(summed, produced);
    return d.tiles() && parts <= 1u << 18 ? parts : winograd_weights_size(summed, produced);
  };
  const size_t forward_size = size_of(s.i, s.o), turned_size = size_of(s.o, s.i);
  std::vector<float> uf(forward_size + 16), ub(turned_size + 16);
  // On a cache line, as in an arena.
  const auto aligned = [](std::vector<float>& v, size_t size) { return Operand{&v, {u(size)}, {}, (64 - reinterpret_cast<uintptr_t>(v.data()) % 64) % 64 / sizeof(float)}; };
  const Operand forward_weights = aligned(uf, forward_size), turned_weights = aligned(ub, turned_size);
  const bool three = s.kh == 3 && s.kw == 3 && s.stride == 1 && s.padding == 1;
  const auto words = [&](bool winograd, size_t n) {
    std::vector<uint32_t> a{u(s.stride), u(s.padding), winograd, u(s.o), u(s.i), u(s.kh), u(s.kw), 0};
    a.resize(n);
    return a;
  };
  const auto instruction = [&](Op op, cpu::Make make, Operand a, Operand b, Operand c, bool winograd, size_t n) {
    auto p = std::make_shared<Instruction>(op, make, std::vector<Operand>{a, b}, std::vector<Operand>{c}, words(winograd, n), d);
    return [p] { p->run(); };
  };
  const auto theirs = [&](std::unique_ptr<cpu::onednn::Primitive> primitive, const float* a, const float* b, float* c) {
    auto p = std::make_shared<Scratched>(std::move(primitive));
    return [=] { p->primitive->run(a, b, nullptr, c, p->aligned()); };
  };
  const std::string shape = std::to_string(s.n) + ", " + std::to_string(s.i) + "->" + std::to_string(s.o) + " @" + std::to_string(s.h) + "x" + std::to_string(s.w) +
                            " k" + std::to_string(s.kh) + (s.stride > 1 ? " s2" : "");
  const auto wanted = [&](const std::string& what) { return what.find(filter) != std::string::npos; };
  if (three && wanted("weights")) {
    Instruction t(Op::winograd_weights, cpu::make_winograd_weights, {{&w, kernel}}, {forward_weights}, {0}, d), b(Op::winograd_weights, cpu::make_winograd_weights, {{&w, kernel}}, {turned_weights}, {1}, d);
    race(shape + " weights", 1e9, {{"forward", [&] { t.run(); }}, {"turned", [&] { b.run(); }}});
  }
  if (wanted("forward")) {
    std::vector<Candidate> c{{"onednn", theirs(cpu::onednn::conv(s, false, d.threads), x.data(), w.data(), y.data())},
                             {"direct", instruction(Op::conv, cpu::make_conv, {&x, in}, {&w, kernel}, {&y, out}, false, 8)}};
    if (three) c.push_back({"winograd", instruction(Op::conv, cpu::make_conv, {&x, in}, forward_weights, {&y, out}, true, 8)});
    race(shape + " forward", s.flops(), c);
  }
  if (wanted("data")) {
    std::vector<Candidate> c{{"onednn", theirs(cpu::onednn::conv_data_grad(s, d.threads), dy.data(), w.data(), dx.data())},
                             {"direct", instruction(Op::conv_data_grad, cpu::make_conv_data_grad, {&dy, out}, {&w, kernel}, {&dx, in}, false, 8)}};
    if (three) c.push_back({"winograd", instruction(Op::conv_data_grad, cpu::make_conv_data_grad, {&dy, out}, turned_weights, {&dx, in}, true, 8)});
    race(shape + " data", s.flops(), c);
  }
  if (wanted("weight grad")) {
    std::vector<Candidate> c{{"onednn", theirs(cpu::onednn::conv_weight_grad(s, d.threads), x.data(), dy.data(), dw.data())},
                             {"direct", instruction(Op::conv_weight_grad, cpu::make_conv_weight_grad, {&x, in}, {&dy, out}, {&dw, kernel}, false, 7)}};
    if (three) c.push_back({"winograd", instruction(Op::conv_weight_grad, cpu::make_conv_weight_grad, {&x, in}, {&dy, out}, {&dw, kernel}, true, 7)});
    race(shape + " weight grad", s.flops(), c);
  }
}

/// `a`, `b`: transposed operands.
void product(size_t m, size_t n, size_t k, bool a, bool b, const cpu::Device& d) {
  std::mt19937 g(1);
  std::vector<float> va = normals(m * k, g), vb = normals(k * n, g), y(m * n);
  const Dims sa = a ? Dims{u(m * k), 1, u(m)} : Dims{u(m * k), u(k), 1}, sb = b ? Dims{u(k * n), 1, u(k)} : Dims{u(k * n), u(n), 1};
  Instruction own(Op::matmul, cpu::make_matmul, {{&va, {1, u(m), u(k)}, sa}, {&vb, {1, u(k), u(n)}, sb}}, {{&y, {1, u(m), u(n)}}}, {0}, d);
  Scratched theirs(cpu::onednn::matmul({1, m, n, k, {sa[0], sa[1], sa[2]}, {sb[0], sb[1], sb[2]}, {m * n, n, 1}}, false, d.threads));
  race("matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + (a ? " A'" : "") + (b ? " B'" : ""),
       2.0 * static_cast<double>(m * n) * static_cast<double>(k),
       {{"onednn", [&] { theirs.primitive->run(va.data(), vb.data(), nullptr, y.data(), theirs.aligned()); }}, {"own", [&] { own.run(); }}});
}

}  // namespace

int main(int argc, char** argv) {
  const cpu::Device d = cpu::make_device(argc > 1 ? std::atoi(argv[1]) : 0, argc > 2 ? std::atoi(argv[2]) : -1, true);
  cpu_time = d.threads == 1;
  const std::string filter = argc > 3 ? argv[3] : "";
  std::printf("%d threads, %s, L2 %zu KB\n", d.threads, cpu::isa_name(d.isa), d.l2_bytes >> 10);
  const auto same = [](size_t n, size_t h, size_t w, size_t i, size_t o, size_t k) { return ConvShape{n, h, w, i, o, k, k, h, w, 1, k / 2}; };
  // The energy networks, the coupling networks, and those of the digits.
  for (const ConvShape& s :
       {same(4, 32, 32, 128, 128, 3), same(4, 32, 32, 128, 256, 3), same(4, 16, 16, 256, 256, 3), same(4, 16, 16, 256, 512, 3), same(4, 8, 8, 512, 512, 3),
        same(4, 8, 8, 512, 1024, 3), same(28, 8, 8, 512, 512, 3), same(4, 32, 16, 192, 96, 3), same(4, 32, 16, 96, 96, 3), same(64, 8, 4, 64, 32, 3),
        same(64, 4, 4, 64, 32, 3), same(64, 8, 8, 32, 32, 3), same(64, 8, 8, 32, 64, 3), same(16, 32, 32, 32, 64, 3), same(32, 32, 32, 32, 64, 3), same(32, 32, 32, 32, 32, 3), same(4, 32, 32, 32, 64, 3), same(16, 16, 16, 64, 128, 3), same(4, 32, 32, 3, 128, 3), same(4, 32, 16, 6, 96, 3),
        same(64, 8, 8, 1, 32, 3), same(64, 8, 4, 2, 32, 3), same(4, 32, 16, 192, 192, 1), same(64, 8, 4, 64, 64, 1), ConvShape{4, 4, 4, 1024, 100, 4, 4, 1, 1, 1, 0},
        ConvShape{4, 32, 32, 64, 128, 4, 4, 16, 16, 2, 1}})
    convolution(s, d, filter);
  if (std::string("matmul").find(filter) == std::string::npos) return 0;
  for (const size_t m : {1024, 2048, 8192})
    for (const auto& [k, n] : {std::pair<size_t, size_t>{32, 96}, {96, 96}, {96, 192}, {192, 192}, {96, 288}, {64, 64}, {16, 32}}) {
      product(m, n, k, false, false, d);
      product(m, k, n, false, true, d);
      product(k, n, m, true, false, d);
    }
  product(512, 512, 512, false, false, d);
  product(64, 1024, 4096, false, true, d);
}
