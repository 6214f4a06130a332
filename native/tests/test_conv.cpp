// Every convolution, its gradients and its epilogue against double references: random shapes, all instruction sets, one and two threads.
#include <algorithm>

#include "check.h"
#include "conv_harness.h"
#include "conv_reference.h"
#include "cpu/device.h"
#include "cpu/ops/conv.h"

using namespace cf;
using namespace cf::test;
using cf::ConvShape;

namespace {

constexpr double kDirect = 1e-6;    // float32 sums of up to a few thousand terms
constexpr double kWinograd = 4e-6;  // its transforms multiply rounding errors by a small constant

uint32_t u(size_t n) { return static_cast<uint32_t>(n); }
Dims side_in(const ConvShape& s) { return {u(s.n), u(s.h), u(s.w), u(s.i)}; }
Dims side_out(const ConvShape& s) { return {u(s.n), u(s.oh), u(s.ow), u(s.o)}; }
Dims kernel(const ConvShape& s) { return {u(s.o), u(s.i), u(s.kh), u(s.kw)}; }
size_t count(const Dims& d) {
  size_t n = 1;
  for (uint32_t k : d) n *= k;
  return n;
}
std::vector<uint32_t> attrs(const ConvShape& s, bool winograd, bool bias) {
  return {u(s.stride), u(s.padding), winograd, u(s.o), u(s.i), u(s.kh), u(s.kw), bias};
}

ConvShape shape(size_t n, size_t h, size_t w, size_t i, size_t o, size_t k, size_t stride, size_t padding) {
  return {n, h, w, i, o, k, k, (h + 2 * padding - k) / stride + 1, (w + 2 * padding - k) / stride + 1, stride, padding};
}

ConvShape random_shape(std::mt19937& g, bool winograd) {
  const auto pick = [&](size_t low, size_t high) { return low + g() % (high - low + 1); };
  for (;;) {
    const size_t k = winograd ? 3 : pick(1, 4), stride = winograd ? 1 : pick(1, 2), padding = winograd ? 1 : pick(0, 2);
    const size_t h = pick(1, 13), w = pick(1, 13);
    if (h + 2 * padding < k || w + 2 * padding < k || padding >= k) continue;
    const bool few = g() % 3 == 0, round = g() % 2 == 0;
    const size_t i = few ? pick(1, 6) : pick(1, 40), o = round ? 16 * pick(1, 3) : pick(1, 40);
    return shape(pick(1, 3), h, w, i, o, k, stride, padding);
  }
}

std::string describe(const ConvShape& s, const cpu::Device& d, bool winograd) {
  return std::to_string(s.n) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w) + " " + std::to_string(s.i) + "->" + std::to_string(s.o) + " kernel " +
         std::to_string(s.kh) + " stride " + std::to_string(s.stride) + " padding " + std::to_string(s.padding) + (winograd ? " winograd " : " direct ") +
         cpu::isa_name(d.isa) + " threads " + std::to_string(d.threads);
}

void expect(const char* what, const std::vector<float>& found, const std::vector<double>& expected, double tolerance, const std::string& where) {
  const double e = relative_error(found, expected);
  check::that(e <= tolerance, __FILE__, __LINE__, std::string(what) + " of " + where + ": relative error " + std::to_string(e * 1e6) + "e-6");
}

/// Runs twice, from different garbage, and expects the same bits.
void run_twice(const Instruction& instruction, std::vector<float>& out) {
  std::fill(out.begin(), out.end(), NAN);
  instruction.run();
  const std::vector<float> first = out;
  std::fill(out.begin(), out.end(), -1.0f);
  instruction.run();
  CHECK(std::memcmp(first.data(), out.data(), out.size() * 4) == 0);
  CHECK(instruction.guard_intact());
}

std::vector<float> transformed(std::vector<float>& w, const ConvShape& s, bool data_grad, const cpu::Device& d) {
  const size_t summed = data_grad ? s.o : s.i, produced = data_grad ? s.i : s.o;
  // Both forms, where there are two.
  const bool parts = d.tiles() && (s.i + s.o) % 2 == 0;
  std::vector<float> u_(parts ? winograd_parts_size(summed, produced) : winograd_weights_size(summed, produced), NAN);
  const Instruction t(Op::winograd_weights, cpu::make_winograd_weights, {{&w, kernel(s)}}, {{&u_, {u(u_.size())}}}, {data_grad}, d);
  t.run();
  return u_;
}

void weight_gradient(const ConvShape& s, bool winograd, const std::vector<float>& x, const std::vector<float>& dy, const cpu::Device& d) {
  std::vector<float> from = x, by = dy, dw(count(kernel(s)));
  std::vector<uint32_t> seven = attrs(s, winograd, false);
  seven.pop_back();
  const std::vector<Operand> in{{&from, side_in(s)}, {&by, side_out(s)}};
  run_twice(Instruction(Op::conv_weight_grad, cpu::make_conv_weight_grad, in, {{&dw, kernel(s)}}, seven, d), dw);
  expect("gradient by w", dw, reference_weight_grad(s, x, dy), winograd ? kWinograd : kDirect, describe(s, d, winograd));
}

void forward_and_gradients(const ConvShape& s, bool winograd, bool has_bias, const cpu::Device& d, std::mt19937& g) {
  const std::string where = describe(s, d, winograd);
  const double tolerance = winograd ? kWinograd : kDirect;
  std::vector<float> x = normals(count(side_in(s)), g), w = normals(count(kernel(s)), g), bias = normals(has_bias ? s.o : 0, g), dy = normals(count(side_out(s)), g);
  std::vector<float> y(dy.size()), dx(x.size());

  std::vector<float> uf = winograd ? transformed(w, s, false, d) : w;
  const Operand weights{&uf, winograd ? Dims{u(uf.size())} : kernel(s)};
  std::vector<Operand> in{{&x, side_in(s)}, weights};
  if (has_bias) in.push_back({&bias, {u(s.o)}});
  run_twice(Instruction(Op::conv, cpu::make_conv, in, {{&y, side_out(s)}}, attrs(s, winograd, has_bias), d), y);
  expect("result", y, reference_conv(s, x, w, bias), tolerance, where);

  std::vector<float> ub = winograd ? transformed(w, s, true, d) : w;
  const Operand turned{&ub, winograd ? Dims{u(ub.size())} : kernel(s)};
  run_twice(Instruction(Op::conv_data_grad, cpu::make_conv_data_grad, {{&dy, side_out(s)}, turned}, {{&dx, side_in(s)}}, attrs(s, winograd, false), d), dx);
  expect("gradient by x", dx, reference_data_grad(s, dy, w), tolerance, where);
  weight_gradient(s, winograd, x, dy, d);
}

/// Into channels [2, 2 + O) of a tensor that is 5 wider: the others keep their values.
void channel_window(const ConvShape& s, bool winograd, const cpu::Device& d, std::mt19937& g) {
  std::vector<float> x = normals(count(side_in(s)), g), w = normals(count(kernel(s)), g);
  std::vector<float> uf = winograd ? transformed(w, s, false, d) : w;
  const size_t wide = s.o + 5, pixels = s.n * s.oh * s.ow;
  std::vector<float> y(pixels * wide, 7.0f);
  const Dims strides{u(s.oh * s.ow * wide), u(s.ow * wide), u(wide), 1};
  Instruction(Op::conv, cpu::make_conv, {{&x, side_in(s)}, {&uf, winograd ? Dims{u(uf.size())} : kernel(s)}}, {{&y, side_out(s), strides, 2}},
              attrs(s, winograd, false), d)
      .run();
  std::vector<float> inner;
  bool kept = true;
  for (size_t k = 0; k < y.size(); ++k) {
    const size_t c = k % wide;
    if (c >= 2 && c < s.o + 2) inner.push_back(y[k]);
    else kept = kept && y[k] == 7.0f;
  }
  CHECK(kept);
  expect("window", inner, reference_conv(s, x, w, {}), winograd ? kWinograd : kDirect, describe(s, d, winograd));
}

/// y0 = r·a + p (p per channel), y1 = r + q (q per image and pixel): a whole operand, both kinds of broadcast, and two outputs, one of them a window.
void epilogue(const ConvShape& s, bool winograd, bool gradient, const cpu::Device& d, std::mt19937& g) {
  const Dims from = gradient ? side_out(s) : side_in(s), to = gradient ? side_in(s) : side_out(s);
  std::vector<float> x = normals(count(from), g), w = normals(count(kernel(s)), g);
  std::vector<float> uf = winograd ? transformed(w, s, gradient, d) : w;
  const size_t channels = to[3], pixels = count(to) / channels, wide = channels + 3;
  std::vector<float> a = normals(count(to), g), p = normals(channels, g), q = normals(pixels, g), y0(count(to), NAN), y1(pixels * wide, 7.0f);
  std::vector<uint32_t> words = attrs(s, winograd, false);
  const uint32_t mul = static_cast<uint32_t>(ExprOp::mul), add = static_cast<uint32_t>(ExprOp::add);
  for (uint32_t word : {0u, 3u, mul, 0u, 1u, 0u, add, 4u, 2u, 0u, add, 0u, 3u, 0u, 5u, 6u}) words.push_back(word);
  const Dims window{u(to[1] * to[2] * wide), u(to[2] * wide), u(wide), 1};
  Instruction(gradient ? Op::conv_data_grad : Op::conv, gradient ? cpu::make_conv_data_grad : cpu::make_conv,
              {{&x, from},
               {&uf, winograd ? Dims{u(uf.size())} : kernel(s)},
               {&a, to},
               {&p, to, {0, 0, 0, 1}},
               {&q, to, {to[1] * to[2], to[2], 1, 0}}},
              {{&y0, to}, {&y1, to, window}}, words, d)
      .run();
  const std::vector<double> r = gradient ? reference_data_grad(s, x, w) : reference_conv(s, x, w, {});
  std::vector<double> e0(r.size()), e1(r.size());
  std::vector<float> inner(r.size());
  for (size_t k = 0; k < r.size(); ++k) {
    e0[k] = r[k] * a[k] + p[k % channels];
    e1[k] = r[k] + q[k / channels];
    inner[k] = y1[k / channels * wide + k % channels];
  }
  const std::string where = describe(s, d, winograd);
  expect("epilogue 0", y0, e0, 2 * kWinograd, where);
  expect("epilogue 1", inner, e1, 2 * kWinograd, where);
  bool kept = true;
  for (size_t k = 0; k < y1.size(); ++k) kept = kept && (k % wide < channels || y1[k] == 7.0f);
  CHECK(kept);
}

void refusals() {
  cpu::Device d;
  std::vector<float> x(1000), w(1000), y(1000);
  const ConvShape s = shape(1, 4, 4, 2, 3, 3, 1, 1);
  const auto make = [&](Dims dy, std::vector<uint32_t> words) {
    return Instruction(Op::conv, cpu::make_conv, {{&x, side_in(s)}, {&w, kernel(s)}}, {{&y, dy}}, words, d);
  };
  CHECK_THROWS(Code::invalid_program, "expected [1, 4, 4, 3]", make({1, 4, 3, 3}, attrs(s, false, false)));
  CHECK_THROWS(Code::invalid_program, "bias: missing", make(side_out(s), attrs(s, false, true)));
  CHECK_THROWS(Code::invalid_program, "expected dense float32 [1, 4, 4, 2]",
               Instruction(Op::conv, cpu::make_conv, {{&x, side_in(s), {64, 16, 4, 1}}, {&w, kernel(s)}}, {{&y, side_out(s)}}, attrs(s, false, false), d));
  CHECK_THROWS(Code::invalid_program, "attribute", make(side_out(s), {1, 1}));
  CHECK_THROWS(Code::invalid_program, "U: expected", make(side_out(s), attrs(s, true, false)));
  ConvShape strided = shape(1, 4, 4, 2, 3, 3, 2, 1);
  CHECK_THROWS(Code::invalid_program, "stride 1", make(side_out(strided), attrs(strided, true, false)));
}

void cancelled() {
  cpu::Device d;
  const ConvShape s = shape(1, 8, 8, 4, 4, 3, 1, 1);
  std::mt19937 g(3);
  std::vector<float> x = normals(count(side_in(s)), g), w = normals(count(kernel(s)), g), y(count(side_out(s)), 7.0f), uf = transformed(w, s, false, d);
  const std::atomic<uint32_t> stop{1};
  Instruction(Op::conv, cpu::make_conv, {{&x, side_in(s)}, {&uf, {u(uf.size())}}}, {{&y, side_out(s)}}, attrs(s, true, false), d).run(&stop);
  CHECK(std::all_of(y.begin(), y.end(), [](float v) { return v == 7.0f; }));
}

std::vector<cpu::Device> devices() {
  std::vector<cpu::Device> all;
  for (const cpu::Isa isa : cpu::available_isas())
    for (const int threads : {1, 2}) {
      cpu::Device d;
      d.isa = isa;
      d.threads = threads;
      all.push_back(d);
      if (isa >= cpu::Isa::avx512) continue;
      d.emulate_tiles = true;
      all.push_back(d);
    }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  refusals();
  cancelled();
  for (const cpu::Device& d : devices()) {
    std::mt19937 g(17);
    for (int round = 0; round < rounds; ++round) {
      const bool winograd = round % 2;
      const ConvShape s = random_shape(g, winograd);
      forward_and_gradients(s, winograd, round % 4 < 2, d, g);
      channel_window(s, winograd, d, g);
      epilogue(s, winograd, g() % 2 == 0, d, g);
    }
    // Shapes that take the other paths: shared tiles (few, with many channels), several blocks of channels, tiles in several chunks.
    for (const ConvShape& s : {shape(1, 8, 8, 72, 200, 3, 1, 1), shape(2, 5, 7, 200, 72, 3, 1, 1), shape(5, 16, 15, 33, 50, 3, 1, 1)}) {
      forward_and_gradients(s, true, true, d, g);
      epilogue(s, true, false, d, g);
    }
    // Weights that come from memory: rows of two register tiles, in blocks of channels.
    if (d.threads == 1) forward_and_gradients(shape(1, 5, 29, 290, 264, 3, 1, 1), true, false, d, g);
    for (const ConvShape& s : {shape(8, 24, 23, 40, 56, 3, 1, 1), shape(2, 36, 36, 72, 200, 3, 1, 1)}) forward_and_gradients(s, true, false, d, g);
    // So many weights that their gradient by Winograd is made piece by piece.
    const ConvShape many = shape(1, 5, 7, 420, 424, 3, 1, 1);
    weight_gradient(many, true, normals(count(side_in(many)), g), normals(count(side_out(many)), g), d);
    forward_and_gradients(shape(2, 9, 9, 64, 48, 4, 2, 1), false, true, d, g);
    // Few channels: several small images at once, large ones in bands of rows.
    for (const ConvShape& s : {shape(11, 7, 9, 2, 16, 3, 1, 1), shape(2, 33, 29, 3, 20, 3, 1, 1), shape(2, 50, 40, 1, 24, 4, 2, 1)}) {
      forward_and_gradients(s, false, true, d, g);
      epilogue(s, false, true, d, g);
    }
  }
  return check::finish("test_conv");
}
