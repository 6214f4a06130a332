// The hand-written GPU kernels: small programs on the CPU backend and on the emulated GPU, results side by side.
#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"
#include "coopflow.h"
#include "cpu/backend.h"
#include "executor/context.h"
#include "program_builder.h"

extern "C" int32_t cf_plugin_open(const char* build, uint32_t ordinal, uint32_t flags, std::shared_ptr<cf::Backend>* out, cf_error* err);

namespace {

using namespace cf;
using namespace cf::test;

using Dims = std::vector<uint32_t>;

Context& cpu() {
  static Context context([] {
    cpu::Device device;
    device.threads = 1;
    return cpu::make_backend(device);
  }());
  return context;
}
Context& gpu() {
  static Context context([] {
    std::shared_ptr<Backend> backend;
    cf_error error{};
    if (cf_plugin_open(CF_BUILD_ID, 0, 0, &backend, &error) != CF_OK) std::printf("%s\n", error.message);
    return backend;
  }());
  return context;
}

size_t count(const Dims& dims) {
  size_t n = 1;
  for (uint32_t d : dims) n *= d;
  return n;
}

std::mt19937 generator(7);
std::vector<float> normal(const Dims& dims, float scale = 1, float mean = 0) {
  std::normal_distribution<float> d(mean, scale);
  std::vector<float> v(count(dims));
  for (float& x : v) x = d(generator);
  return v;
}

/// A program with feeds and fetches, run on both devices.
class Case {
 public:
  explicit Case(std::string name) : name_(std::move(name)) { b.name(name_); }

  uint32_t feed(const Dims& dims, std::vector<float> values, DType type = DType::f32) {
    fed_.push_back(std::move(values));
    return b.dense(b.buffer(BufferKind::feed, "in" + std::to_string(fed_.size()), dims, type), dims);
  }
  uint32_t feed(const Dims& dims, float scale = 1, float mean = 0) { return feed(dims, normal(dims, scale, mean)); }
  uint32_t key() {
    const uint32_t words[4] = {77, 5, 1000, 0};
    std::vector<float> v(4);
    std::memcpy(v.data(), words, sizeof words);
    return feed({4}, v, DType::u32);
  }
  uint32_t temporary(const Dims& dims) { return b.dense(b.buffer(BufferKind::arena, "", dims), dims); }
  /// `tolerance`: of the largest difference, relative to the largest value; 0: the same bits.
  uint32_t fetch(const Dims& dims, double tolerance, DType type = DType::f32) {
    tolerances_.push_back(tolerance);
    return b.dense(b.buffer(BufferKind::fetch, "out" + std::to_string(tolerances_.size()), dims, type), dims);
  }

  void compare() {
    const std::vector<std::vector<float>> expected = run(cpu()), found = run(gpu()), again = run(gpu());
    if (expected.empty() || found.empty() || again.empty()) return;
    for (size_t k = 0; k < expected.size(); ++k) {
      CHECK(std::memcmp(found[k].data(), again[k].data(), 4 * found[k].size()) == 0);
      if (tolerances_[k] == 0) {
        check::that(std::memcmp(expected[k].data(), found[k].data(), 4 * found[k].size()) == 0, __FILE__, __LINE__, name_ + ", result " + std::to_string(k) + ": other bits");
        continue;
      }
      double size = 0, worst = 0;
      size_t at = 0;
      for (size_t i = 0; i < found[k].size(); ++i) {
        const float e = expected[k][i], f = found[k][i];
        if (std::isfinite(e)) size = std::max<double>(size, std::fabs(e));
        const double off = e == f || (std::isnan(e) && std::isnan(f)) ? 0 : std::isfinite(e - f) ? std::fabs(e - f) : INFINITY;
        if (off > worst) worst = off, at = i;
      }
      check::that(worst <= tolerances_[k] * size, __FILE__, __LINE__,
                  name_ + ", result " + std::to_string(k) + ": off by " + std::to_string(worst / size) + " at " + std::to_string(at) + ": " + std::to_string(found[k][at]) +
                      ", expected " + std::to_string(expected[k][at]));
    }
  }

  ProgramBuilder b;

 private:
  std::vector<std::vector<float>> run(Context& context) const {
    std::vector<std::vector<float>> results;
    try {
      const std::vector<uint8_t> bytes = b.bytes();
      const auto loaded = context.load(decode(bytes.data(), bytes.size()), true);
      for (uint32_t i = 0; i < fed_.size(); ++i) context.feed(*loaded, i, fed_[i].data(), 4 * fed_[i].size());
      context.run(loaded);
      for (uint32_t k = 0; k < tolerances_.size(); ++k) {
        results.emplace_back(loaded->buffers[loaded->fetches[k]].bytes / 4);
        context.fetch(*loaded, k, results.back().data(), 4 * results.back().size());
      }
      context.unload(loaded);
    } catch (const Error& e) {
      check::that(false, __FILE__, __LINE__, name_ + ": " + e.what());
    }
    return results;
  }

  std::string name_;
  std::vector<std::vector<float>> fed_;
  std::vector<double> tolerances_;
};

std::string str(const Dims& dims) {
  std::string s;
  for (uint32_t d : dims) s += (s.empty() ? "" : "×") + std::to_string(d);
  return s;
}

// ---- Winograd ------------------------------------------------------------------------------------------------------

uint32_t up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

struct Image {
  uint32_t n, h, w, i, o;
};

void winograd_conv(const Image& s, bool bias) {
  Case c("conv " + str({s.n, s.h, s.w, s.i, s.o}));
  const uint32_t x = c.feed({s.n, s.h, s.w, s.i}), w = c.feed({s.o, s.i, 3, 3}), u = c.temporary({36 * up(s.i, 16) * up(s.o, 32)});
  std::vector<uint32_t> inputs{x, u};
  if (bias) inputs.push_back(c.feed({s.o}));
  c.b.add(Op::winograd_weights, {w}, {u}, {0});
  c.b.add(Op::conv, inputs, {c.fetch({s.n, s.h, s.w, s.o}, 1e-5)}, {1, 1, 1, s.o, s.i, 3, 3, bias ? 1u : 0u});
  c.compare();
}

void winograd_grads(const Image& s) {
  Case c("gradients " + str({s.n, s.h, s.w, s.i, s.o}));
  const uint32_t x = c.feed({s.n, s.h, s.w, s.i}), dy = c.feed({s.n, s.h, s.w, s.o}), w = c.feed({s.o, s.i, 3, 3}), u = c.temporary({36 * up(s.o, 16) * up(s.i, 32)});
  c.b.add(Op::winograd_weights, {w}, {u}, {1});
  c.b.add(Op::conv_data_grad, {dy, u}, {c.fetch({s.n, s.h, s.w, s.i}, 1e-5)}, {1, 1, 1, s.o, s.i, 3, 3, 0});
  c.b.add(Op::conv_weight_grad, {x, dy}, {c.fetch({s.o, s.i, 3, 3}, 1e-5)}, {1, 1, 1, s.o, s.i, 3, 3});
  c.compare();
}

/// Two results of result · operand: as it is, into every other channel of a wider tensor, and pooled.
void winograd_epilogue(const Image& s, bool pooled) {
  Case c(std::string("epilogue ") + (pooled ? "pooled " : "") + str({s.n, s.h, s.w, s.i, s.o}));
  const Dims dims{s.n, s.h, s.w, s.o};
  const uint32_t x = c.feed({s.n, s.h, s.w, s.i}), w = c.feed({s.o, s.i, 3, 3}), u = c.temporary({36 * up(s.i, 16) * up(s.o, 32)}), bias = c.feed({s.o}), factor = c.feed(dims);
  const uint32_t row = c.feed({s.o});
  const uint32_t along = c.b.tensor(c.b.program.tensors[row].buffer, dims, {0, 0, 0, 1});
  const uint32_t wide = c.fetch({s.n, s.h, s.w, 2 * s.o}, 3e-6), y = c.b.tensor(c.b.program.tensors[wide].buffer, dims, {s.h * s.w * 2 * s.o, s.w * 2 * s.o, 2 * s.o, 1}, s.o);
  const uint32_t other = c.fetch(pooled ? Dims{s.n, s.h / 2, s.w / 2, s.o} : dims, 1e-5);
  const uint32_t low = c.b.tensor(c.b.program.tensors[wide].buffer, dims, {s.h * s.w * 2 * s.o, s.w * 2 * s.o, 2 * s.o, 1});
  c.b.add(Op::winograd_weights, {w}, {u}, {0});
  // The half that the convolution leaves alone is written, too: a fetch has no undefined part.
  c.b.add(Op::map, {factor}, {low}, {0, 0, 0});
  // v3 = result · factor, v4 = tanh(v3) + row
  c.b.add(Op::conv, {x, u, bias, factor, along}, {y, other},
          {1, 1, 1, s.o, s.i, 3, 3, 1u | (pooled ? 2u << 8 : 0u), 0, 3, static_cast<uint32_t>(ExprOp::mul), 0, 1, 0, static_cast<uint32_t>(ExprOp::tanh), 3, 0, 0,
           static_cast<uint32_t>(ExprOp::add), 4, 2, 0, 3, 5});
  c.compare();
}

/// One image for each pass of a loop.
void winograd_in_loop() {
  const Image s{2, 5, 4, 3, 6};
  Case c("conv in a loop");
  const uint32_t whole = c.feed({3, s.n, s.h, s.w, s.i}), w = c.feed({s.o, s.i, 3, 3}), u = c.temporary({36 * 16 * 32}), y = c.fetch({3, s.n, s.h, s.w, s.o}, 3e-6);
  const uint32_t in = s.n * s.h * s.w * s.i, out = s.n * s.h * s.w * s.o;
  const uint32_t x = c.b.tensor(c.b.program.tensors[whole].buffer, {s.n, s.h, s.w, s.i}, {s.h * s.w * s.i, s.w * s.i, s.i, 1}, 0, {in, 0, 0});
  const uint32_t to = c.b.tensor(c.b.program.tensors[y].buffer, {s.n, s.h, s.w, s.o}, {s.h * s.w * s.o, s.w * s.o, s.o, 1}, 0, {out, 0, 0});
  c.b.add(Op::winograd_weights, {w}, {u}, {0});
  c.b.add(Op::repeat, {}, {}, {3, 0, 1, 0});
  c.b.add(Op::conv, {x, u}, {to}, {1, 1, 1, s.o, s.i, 3, 3, 0});
  c.compare();
}

// ---- mixture of logistics ------------------------------------------------------------------------------------------

struct Coupling {
  uint32_t n, p, c, k;
  Dims x() const { return {n, p, c}; }
  Dims parameters() const { return {n, p, c * (2 + 3 * k)}; }
  std::string name(const char* what) const { return std::string(what) + " " + str({n, p, c, k}); }
};

/// Sharp: narrow components far apart, with x in their tails and gaps.
std::vector<float> coupling_parameters(const Coupling& s, bool sharp) {
  std::vector<float> p = normal(s.parameters());
  for (size_t i = 0; i < p.size(); ++i) {
    const size_t group = i / s.c % (2 + 3 * s.k);
    if (group >= 2 + 2 * s.k) p[i] = sharp ? -4 + 3 * p[i] : -0.5f + 0.5f * p[i];
    else if (group >= 2 && sharp) p[i] *= 3;
  }
  return p;
}

void mixture(const Coupling& s, bool sharp) {
  const std::vector<float> p = coupling_parameters(s, sharp);
  {
    Case c(s.name(sharp ? "sharp mixture" : "mixture"));
    const uint32_t x = c.feed(s.x(), sharp ? 6.0f : 1.5f), at = c.feed(s.parameters(), p), rescale = c.feed({s.c}, 0.3f, 1);
    c.b.add(Op::mixture, {x, at, rescale}, {c.fetch(s.x(), 2e-6), c.fetch({s.n}, 1e-5)}, {s.k});
    c.b.add(Op::mixture_grad, {x, at, rescale, c.feed(s.x()), c.feed({s.n})},
            {c.fetch(s.x(), 1e-5), c.fetch(s.parameters(), 1e-5), c.fetch({s.c}, 1e-5)}, {s.k});
    c.compare();
  }
  if (sharp) return;  // what rounding does to x there has no bound that would tell right from wrong
  Case c(s.name("mixture inverse"));
  const uint32_t y = c.feed(s.x(), 2), at = c.feed(s.parameters(), p), rescale = c.feed({s.c}, 0.3f, 1);
  c.b.add(Op::mixture_inverse, {y, at, rescale}, {c.fetch(s.x(), 1e-5), c.fetch({s.n}, 2e-5)}, {s.k});
  c.compare();
}

/// The inverse of what the forward direction made, on the GPU alone: sharp components too.
void mixture_round_trip() {
  const Coupling s{2, 9, 3, 32};
  Case c("mixture round trip");
  const uint32_t x = c.feed(s.x(), 1.5f), at = c.feed(s.parameters(), coupling_parameters(s, false)), rescale = c.feed({s.c}, 0.3f, 1), y = c.temporary(s.x());
  c.b.add(Op::mixture, {x, at, rescale}, {y, c.fetch({s.n}, 2e-6)}, {s.k});
  c.b.add(Op::mixture_inverse, {y, at, rescale}, {c.fetch(s.x(), 1e-4), c.fetch({s.n}, 1e-4)}, {s.k});
  c.compare();
}

void mixture_nan() {
  const Coupling s{1, 3, 1, 5};
  Case c("mixture of NaN");
  std::vector<float> x = normal(s.x());
  x[1] = NAN;
  const uint32_t in = c.feed(s.x(), x), at = c.feed(s.parameters()), rescale = c.feed({1});
  c.b.add(Op::mixture, {in, at, rescale}, {c.fetch(s.x(), 1e-5), c.fetch({1}, 1e-5)}, {s.k});
  c.b.add(Op::mixture_inverse, {in, at, rescale}, {c.fetch(s.x(), 1e-5), c.fetch({1}, 1e-5)}, {s.k});
  c.compare();
}

// ---- layer norm ----------------------------------------------------------------------------------------------------

void layer_norm(const Dims& dims, uint64_t offset = 0) {
  Case c("layer norm " + str(dims) + (offset ? " unaligned" : ""));
  const uint32_t channels = dims.back();
  uint32_t x;
  if (offset) {
    const uint32_t wide = c.feed({static_cast<uint32_t>(count(dims) + offset)});
    Dims strides(dims.size());
    uint32_t s = 1;
    for (size_t k = dims.size(); k-- > 0; s *= dims[k]) strides[k] = s;
    x = c.b.tensor(c.b.program.tensors[wide].buffer, dims, strides, offset);
  } else {
    x = c.feed(dims, 2, 30);
  }
  const uint32_t gain = c.feed({channels}), bias = c.feed({channels}), dy = c.feed(dims);
  c.b.add(Op::layer_norm, {x, gain, bias}, {c.fetch(dims, 5e-6)}, {bits(1e-5f)});
  c.b.add(Op::layer_norm_grad, {x, gain, dy}, {c.fetch(dims, 5e-6), c.fetch({channels}, 5e-6), c.fetch({channels}, 5e-6)}, {bits(1e-5f)});
  c.compare();
}

// ---- attention -----------------------------------------------------------------------------------------------------

void attention(uint32_t n, uint32_t length, uint32_t heads, uint32_t d, float dropout, float scale = 1) {
  Case c("attention " + str({n, length, heads, d}) + (dropout > 0 ? " with dropout" : ""));
  const uint32_t channels = heads * d, words = (length * length + 31) / 32;
  const Dims wide{n, length, 3 * channels}, dims{n, length, channels}, rows{n, heads, length};
  const uint32_t kvq = c.feed(wide, scale), dout = c.feed(dims), out = c.fetch(dims, 3e-6), lse = c.fetch(rows, 3e-6);
  std::vector<uint32_t> inputs{kvq}, outputs{out, lse}, grad_inputs{kvq, out, lse, dout};
  if (dropout > 0) {
    inputs.push_back(c.key());
    outputs.push_back(c.fetch({n, heads, words}, 0, DType::u32));
    grad_inputs.push_back(outputs[2]);
  }
  c.b.add(Op::attention, inputs, outputs, {heads, bits(dropout), 1234, 0});
  c.b.add(Op::attention_grad, grad_inputs, {c.fetch(wide, 1e-5 * std::max(1.0f, scale * scale / 8))}, {heads, bits(dropout)});
  c.compare();
}

/// Draws follow the loop, operands move with it.
void attention_in_loop() {
  Case c("attention in a loop");
  const uint32_t n = 2, length = 7, heads = 2, d = 3, channels = heads * d, words = (length * length + 31) / 32, passes = 3;
  const auto moving = [&](uint32_t whole, const Dims& dims) {
    Dims strides(dims.size());
    uint32_t s = 1;
    for (size_t k = dims.size(); k-- > 0; s *= dims[k]) strides[k] = s;
    return c.b.tensor(c.b.program.tensors[whole].buffer, dims, strides, 0, {s, 0, 0});
  };
  const uint32_t kvq = moving(c.feed({passes, n, length, 3 * channels}), {n, length, 3 * channels}), key = c.key();
  const uint32_t out = moving(c.fetch({passes, n, length, channels}, 3e-6), {n, length, channels}), lse = moving(c.fetch({passes, n, heads, length}, 3e-6), {n, heads, length});
  const uint32_t kept = moving(c.fetch({passes, n, heads, words}, 0, DType::u32), {n, heads, words});
  c.b.add(Op::repeat, {}, {}, {passes, 0, 1, 1});
  c.b.add(Op::attention, {kvq, key}, {out, lse, kept}, {heads, bits(0.25f), 99, 1});
  c.compare();
}

// ---- small matrices ------------------------------------------------------------------------------------------------

void small_matrix(uint32_t n) {
  Case c("matrix " + str({n, n}));
  const uint32_t a = c.feed({n, n});
  c.b.add(Op::matrix_inverse, {a}, {c.fetch({n, n}, 1e-6)}, {});
  c.b.add(Op::log_abs_det, {a}, {c.fetch({1}, 1e-6)}, {});
  c.compare();
}

void singular_matrix() {
  Case c("singular matrix");
  const uint32_t a = c.feed({2, 2}, std::vector<float>{1, 2, 2, 4});
  c.b.add(Op::log_abs_det, {a}, {c.fetch({1}, 1e-6)}, {});
  c.compare();
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  for (const Image& s : {Image{1, 4, 4, 1, 1}, Image{2, 5, 7, 3, 6}, Image{3, 8, 8, 17, 33}, Image{1, 1, 2, 4, 2}}) {
    winograd_conv(s, true), winograd_conv(s, false), winograd_grads(s);
  }
  winograd_grads({12, 32, 24, 5, 7});  // several slices of tiles
  winograd_epilogue({2, 6, 10, 3, 5}, true), winograd_epilogue({2, 5, 7, 2, 4}, false);
  winograd_in_loop();
  for (const Coupling& s : {Coupling{2, 9, 3, 1}, Coupling{3, 5, 2, 5}, Coupling{2, 16, 6, 32}, Coupling{1, 7, 1, 33}, Coupling{1, 4, 3, 64}})
    mixture(s, false), mixture(s, true);
  mixture({2, 700, 2, 3}, false);  // several blocks an image, several rounds a block
  mixture_round_trip();
  mixture_nan();
  for (const Dims& d : {Dims{5, 1}, Dims{3, 4, 7}, Dims{37, 96}, Dims{9, 128}, Dims{3, 1030}, Dims{5, 2048}}) layer_norm(d);
  layer_norm({700, 12}), layer_norm({9, 16}, 1);
  for (float dropout : {0.0f, 0.3f}) {
    attention(2, 16, 2, 8, dropout), attention(1, 37, 2, 24, dropout), attention(2, 5, 3, 1, dropout), attention(1, 33, 1, 64, dropout), attention(1, 9, 2, 42, dropout);
    // Several rows a thread.
    attention(3, 150, 2, 24, dropout), attention(2, 100, 2, 24, dropout), attention(2, 300, 2, 8, dropout), attention(4, 40, 1, 64, dropout);
  }
  attention(1, 40, 1, 8, 0, 20);  // scores far beyond the range of an exponential
  attention_in_loop();
  for (uint32_t n : {1u, 2u, 12u, 33u, 60u}) small_matrix(n);
  singular_matrix();
  return check::finish("cuda kernels");
}
