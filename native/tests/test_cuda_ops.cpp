// Generated kernels and products on the emulated GPU against the CPU's kernels, over operands of any strides. Many instructions make one program, because
// compiling takes longer than running.
#include <atomic>
#include <functional>
#include <limits>

#include "check.h"
#include "cuda/emulation/machine.h"
#include "cuda/executable.h"
#include "op_harness.h"
#include "program_builder.h"
#include "random_expression.h"

using namespace cf;
using namespace cf::test;
using cuda::Precision;

namespace {

/// Values at the memory of `t` in `m`, in index order.
std::vector<float> values(Memories& m, const Tensor& t) {
  std::vector<float> v;
  each_index(t, [&](const auto& at) { v.push_back(m.f32(t)[position(t, at)]); });
  return v;
}

/// How far a result in less than float32 may be from the exact one, relative to 1 + its magnitude, where factors are in [−1, 1]: their rounding (2⁻¹¹ and 2⁻⁹) over the few
/// hundred products of a sum here.
struct Reduced {
  Precision precision;
  double product, convolution;
};
const Reduced kExact{Precision::float32, 1e-5, 1e-5}, kTf32{Precision::tf32, 2e-3, 3e-3}, kBf16{Precision::bf16, 1.5e-2, 2e-2};

struct Job {
  Program p;
  Precision precision = Precision::float32;
  double worst = 0;  ///< of all instructions, once run
  std::vector<double> tolerance;  ///< per instruction: relative to 1 + |value|
  std::vector<std::pair<uint32_t, uint32_t>> same;  ///< buffers that are one

  Instr& add(Op op, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs, std::vector<uint32_t> attrs, double within) {
    tolerance.push_back(within);
    p.instrs.push_back({op, 0, std::move(inputs), std::move(outputs), std::move(attrs)});
    return p.instrs.back();
  }

  /// Runs everything on both and compares what each instruction wrote.
  void run(const char* what, float low, float high, const std::function<void(Memories&)>& prepare = {}) {
    p.names = {what};
    p.commit = static_cast<uint32_t>(p.instrs.size());
    for (const Instr& instr : p.instrs)
      for (const uint32_t id : instr.inputs) p.buffers[p.tensors[id].buffer].kind = BufferKind::feed;
    for (const auto& pair : same) p.buffers[pair.second].kind = BufferKind::state;
    for (const Instr& instr : p.instrs)
      for (const uint32_t id : instr.outputs) p.buffers[p.tensors[id].buffer].kind = BufferKind::fetch;
    Random random(5);
    Memories expected(p);
    expected.randomise(random, low, high);
    if (prepare) prepare(expected);
    Memories found(expected);
    for (const auto& pair : same) expected.alias(pair.first, pair.second), found.alias(pair.first, pair.second);
    for (const Instr& instr : p.instrs) expected.run(*cpu::make_kernel(p, instr, device(cpu::available_isas().back(), 1)));
    const auto backend = cuda::make_backend(cuda::emulated_machine(precision), "cuda:0", 0, true);
    const auto executable = backend->prepare(p);
    const Block scratch = block(executable->scratch_bytes);
    std::atomic<uint32_t> cancel{0};
    Progress progress;
    Profile profile;
    Watch watch;
    std::vector<char*> base;
    for (uint32_t b = 0; b < p.buffers.size(); ++b) {
      Tensor t{};
      t.buffer = b;
      base.push_back(reinterpret_cast<char*>(found.f32(t)));
    }
    const Invocation call{base, scratch.get(), cancel, progress, profile, watch};
    executable->propose(call);
    for (size_t i = 0; i < p.instrs.size(); ++i)
      for (const uint32_t id : p.instrs[i].outputs) {
        const Tensor& t = p.tensors[id];
        const std::vector<float> a = values(expected, t), b = values(found, t);
        double worst = 0;
        for (size_t k = 0; k < a.size(); ++k) {
          const double off = a[k] == b[k] || (std::isnan(a[k]) && std::isnan(b[k])) ? 0 : std::fabs(double{a[k]} - double{b[k]}) / (1 + std::fabs(double{a[k]}));
          worst = std::max(worst, std::isnan(off) ? INFINITY : off);
        }
        check::that(worst <= tolerance[i], __FILE__, __LINE__, std::string(what) + ", instruction " + std::to_string(i) + ": off by " + std::to_string(worst));
        this->worst = std::max(this->worst, worst);
      }
    // Nothing beside the outputs was touched: whole buffers agree but for rounding.
    for (uint32_t b = 0; b < p.buffers.size(); ++b) {
      Tensor t{};
      t.buffer = b;
      bool close = true;
      for (uint64_t k = 0; k < p.buffers[b].bytes / 4; ++k) {
        const float x = expected.f32(t)[k], y = found.f32(t)[k];
        close = close && (x == y || std::isnan(x) || std::fabs(x - y) <= 2e-2f * (1 + std::fabs(x)));
      }
      check::that(close, __FILE__, __LINE__, std::string(what) + ": buffer " + std::to_string(b) + " differs");
    }
  }
};

void maps(uint32_t rounds) {
  Random random(21);
  Job job;
  for (uint32_t round = 0; round < rounds; ++round) {
    const bool transposed = round % 4 == 3;
    const std::vector<uint32_t> dims = transposed ? std::vector<uint32_t>{1 + round % 3u, 2 + round % 70u, 9 + round % 60u} : random_dims(random, 3000);
    const uint32_t inputs = random() % 4, outputs = 1 + random() % 2;
    std::vector<uint32_t> in, out;
    const bool simple = !transposed && random() % 2;
    for (uint32_t i = 0; i < inputs + outputs; ++i) {
      const bool written = i >= inputs;
      const bool shuffled = !simple && random() % 3 == 0;
      const uint32_t broadcast = written || random() % 2 ? 0 : random() % (1u << dims.size());
      const uint32_t gap = !simple && random() % 4 == 0 ? 2 + random() % 3 : 1;
      (written ? out : in).push_back(place(job.p, dims, random_order(random, dims.size(), shuffled), broadcast, gap, random() % 2 ? 0 : random() % 5));
    }
    // Sometimes the first output takes the memory of an input that has the same layout.
    for (uint32_t i = 0; i < inputs && random() % 2; ++i) {
      const Tensor &a = job.p.tensors[in[i]], &b = job.p.tensors[out[0]];
      if (a.strides != b.strides || a.offset != b.offset) continue;
      job.same.push_back({b.buffer, a.buffer});
      break;
    }
    job.add(Op::map, in, out, random_expression(random, inputs, outputs).words(), 1e-6);
  }
  job.run("maps", -2, 2);
}

void reductions(uint32_t rounds) {
  Random random(22);
  Job job;
  for (uint32_t round = 0; round < rounds; ++round) {
    const std::vector<uint32_t> dims = random_dims(random, round % 10 == 0 ? 60000 : 6000);
    const uint32_t inputs = 1 + random() % 2, axes = random() % (1u << dims.size()), kind = random() % 2;
    const float scale = random() % 2 ? 1.0f : -0.5f;
    std::vector<uint32_t> in;
    for (uint32_t i = 0; i < inputs; ++i)
      in.push_back(place(job.p, dims, random_order(random, dims.size(), random() % 4 == 0), i && random() % 2 ? random() % (1u << dims.size()) : 0,
                         random() % 5 == 0 ? 2 : 1, random() % 2 ? 0 : random() % 3));
    std::vector<uint32_t> kept = dims;
    for (size_t k = 0; k < kept.size(); ++k)
      if (axes >> k & 1) kept[k] = 1;
    const uint32_t out = place(job.p, kept, random_order(random, dims.size(), random() % 4 == 0), 0, random() % 5 == 0 ? 3 : 1, random() % 3);
    std::vector<uint32_t> attrs{kind, axes, bits(scale)};
    const RandomExpression e = random() % 3 ? random_expression(random, inputs, 1) : RandomExpression{{}, {}, {0}};
    for (const uint32_t w : e.words()) attrs.push_back(w);
    job.add(Op::reduce, in, {out}, attrs, 2e-5);
  }
  job.run("reductions", -1, 2);
}

/// A maximum is NaN when any term is, wherever it lies.
void maxima_of_nan() {
  Job job;
  const uint32_t x = place(job.p, {4, 300}, {0, 1}, 0, 1, 0), rows = place(job.p, {4, 1}, {0, 1}, 0, 1, 0), columns = place(job.p, {1, 300}, {0, 1}, 0, 1, 0);
  job.add(Op::reduce, {x}, {rows}, {1, 2, bits(1), 0, 0, 0}, 0);
  job.add(Op::reduce, {x}, {columns}, {1, 1, bits(1), 0, 0, 0}, 0);
  job.run("maxima", -1, 1, [&](Memories& m) {
    float* const v = m.f32(job.p.tensors[x]);
    v[5] = v[300 + 299] = v[600] = NAN;
    for (int i = 900; i < 1200; ++i) v[i] = -INFINITY;
  });
}

/// Every operation over its range and at the special values.
void operations() {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> xs{0.0f, -0.0f, 1.0f, -1.0f, 0.5f, inf, -inf, nan, 1e-30f, -1e-30f, 1e30f, -1e30f, 88.0f, 100.0f, -87.0f, -100.0f, 3.5f, -3.5f, 1e-4f, 16777217.0f};
  Random random(13);
  std::uniform_real_distribution<float> draw(-20, 20);
  while (xs.size() < 1003) xs.push_back(draw(random));
  const uint32_t n = static_cast<uint32_t>(xs.size());
  Job job;
  const uint32_t a = place(job.p, {n}, {0}, 0, 1, 0), b = place(job.p, {n}, {0}, 0, 1, 0), c = place(job.p, {n}, {0}, 0, 1, 0);
  for (uint32_t op = 1; op <= 25; ++op) {
    const ExprOp e = static_cast<ExprOp>(op);
    const bool exact = e == ExprOp::add || e == ExprOp::sub || e == ExprOp::mul || e == ExprOp::div || e == ExprOp::max || e == ExprOp::min || e == ExprOp::select ||
                       e == ExprOp::sqrt || e == ExprOp::floor || e == ExprOp::is_finite || e == ExprOp::lt || e == ExprOp::le || e == ExprOp::eq || e == ExprOp::neg;
    job.add(Op::map, {a, b, c}, {place(job.p, {n}, {0}, 0, 1, 0)}, {0, 1, op, 0, 1, 2, 3}, exact ? 0 : 1e-6);
  }
  job.run("operations", 0, 0, [&](Memories& m) {
    for (uint32_t i = 0; i < n; ++i) {
      m.f32(job.p.tensors[a])[i] = xs[i];
      m.f32(job.p.tensors[b])[i] = xs[(i * 7 + 3) % n];
      m.f32(job.p.tensors[c])[i] = xs[(i * 11 + 5) % n];
    }
  });
}

void draws() {
  Job job;
  const uint32_t key = place(job.p, {4}, {0}, 0, 1, 0);
  job.p.buffers[0].dtype = job.p.tensors[key].dtype = DType::u32;
  for (const uint32_t kind : {0u, 1u})
    for (const auto& dims : std::vector<std::vector<uint32_t>>{{5}, {3, 4}, {7, 3, 5}, {2, 16, 16, 3}, {1, 1}, {1000, 2}})
      job.add(Op::random, {key}, {place(job.p, dims, random_order(*std::make_unique<Random>(1), dims.size(), false), 0, 1, 0)}, {kind, 0xabcdef01u, 0}, 0);
  job.run("draws", 0, 0, [&](Memories& m) {
    const uint32_t words[4] = {17, 5, 100, 0};
    std::memcpy(m.f32(job.p.tensors[key]), words, 16);
  });
}

/// An epilogue y0 = tanh(result) · x, y1 = result.
const std::vector<uint32_t> kEpilogue{0, 2, static_cast<uint32_t>(ExprOp::tanh), 0, 0, 0, static_cast<uint32_t>(ExprOp::mul), 2, 1, 0, 3, 0};

void products(const Reduced& reduced) {
  Job job;
  job.precision = reduced.precision;
  Random random(23);
  const auto matrix = [&](uint32_t batch, uint32_t rows, uint32_t cols, bool turned, bool repeated) {
    return place(job.p, {batch, rows, cols}, turned ? std::vector<uint32_t>{0, 2, 1} : std::vector<uint32_t>{0, 1, 2}, repeated ? 1 : 0, 1, random() % 3);
  };
  for (uint32_t round = 0; round < 40; ++round) {
    const uint32_t batch = 1 + random() % 3, m = 1 + random() % 9, n = 1 + random() % 9, k = 1 + random() % 9;
    const bool bias = random() % 2, epilogue = random() % 2;
    std::vector<uint32_t> in{matrix(batch, m, k, random() % 2, random() % 3 == 0), matrix(batch, k, n, random() % 2, random() % 3 == 0)}, out, attrs{bias};
    if (bias) in.push_back(place(job.p, {n}, {0}, 0, 1, 0));
    out.push_back(matrix(batch, m, n, false, false));
    if (epilogue) {
      in.push_back(matrix(batch, m, n, false, random() % 2));
      out.push_back(matrix(batch, m, n, false, false));
      attrs.insert(attrs.end(), kEpilogue.begin(), kEpilogue.end());
    }
    job.add(Op::matmul, in, out, attrs, reduced.product);
  }
  job.run("products", -1, 1);
  // Otherwise nothing would have been rounded.
  if (reduced.precision != Precision::float32) CHECK(job.worst > reduced.product / 10);
}

void convolutions(const Reduced& reduced) {
  Job job;
  job.precision = reduced.precision;
  Random random(24);
  const auto dense = [&](const std::vector<uint32_t>& dims) { return place(job.p, dims, random_order(random, dims.size(), false), 0, 1, 0); };
  // Only whole groups of eight channels are rounded to bfloat16.
  const auto channels = [&]() -> uint32_t { return reduced.precision == Precision::bf16 && random() % 3 ? 8 + 8 * (random() % 2) : 1 + random() % 6; };
  for (uint32_t round = 0; round < 30; ++round) {
    const uint32_t n = 1 + random() % 2, h = 4 + random() % 4, w = 4 + random() % 4, i = channels(), o = channels(), k = round % 3 == 0 ? 1 : 1 + random() % 4;
    const uint32_t stride = round % 3 == 0 ? 1 : 1 + random() % 2, padding = round % 3 == 0 ? 0 : random() % 2;
    const uint32_t oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
    const std::vector<uint32_t> x{n, h, w, i}, y{n, oh, ow, o}, weights{o, i, k, k};
    for (const Op op : {Op::conv, Op::conv_data_grad, Op::conv_weight_grad}) {
      const bool bias = op == Op::conv && random() % 2, epilogue = op != Op::conv_weight_grad && random() % 2;
      std::vector<uint32_t> attrs{stride, padding, 0, o, i, k, k};
      if (op == Op::conv_weight_grad) {
        job.add(op, {dense(x), dense(y)}, {dense(weights)}, attrs, reduced.convolution);
        continue;
      }
      attrs.push_back(bias);
      const std::vector<uint32_t>& result = op == Op::conv ? y : x;
      std::vector<uint32_t> in{dense(op == Op::conv ? x : y), dense(weights)}, out{dense(result)};
      if (bias) in.push_back(dense({o}));
      if (epilogue) {
        in.push_back(dense(result)), out.push_back(dense(result));
        attrs.insert(attrs.end(), kEpilogue.begin(), kEpilogue.end());
      } else if (random() % 2) {
        // A channel window of a wider tensor.
        Tensor& t = job.p.tensors[out[0]];
        const uint32_t wide = result[3] + 3;
        t.strides = {result[1] * result[2] * wide, result[2] * wide, wide, 1};
        t.offset = 2;
        job.p.buffers[t.buffer].bytes = 4ull * result[0] * result[1] * result[2] * wide;
      }
      job.add(op, in, out, attrs, reduced.convolution);
    }
  }
  job.run("convolutions", -1, 1);
  if (reduced.precision != Precision::float32) CHECK(job.worst > reduced.convolution / 10);
}

/// Few input channels, many output channels, rows longer than what one thread makes of them.
void few_channels() {
  Job job;
  Random random(25);
  const auto dense = [&](const std::vector<uint32_t>& dims) { return place(job.p, dims, {0, 1, 2, 3}, 0, 1, 0); };
  for (const uint32_t o : {4u, 8u, 20u, 64u, 96u, 128u, 130u, 132u, 160u})
    for (uint32_t i = 1; i <= 6; ++i) {
      const uint32_t k = 1 + random() % 3, padding = k == 1 ? 1 : random() % k, n = 1 + random() % 3, h = 3 + random() % 3, w = 3 + random() % 32;
      const uint32_t oh = h + 2 * padding - k + 1, ow = w + 2 * padding - k + 1;
      const std::vector<uint32_t> x{n, h, w, i}, y{n, oh, ow, o}, weights{o, i, k, k}, attrs{1, padding, 0, o, i, k, k, 0};
      job.add(Op::conv, {dense(x), dense(weights)}, {dense(y)}, attrs, 1e-5);
      job.add(Op::conv_data_grad, {dense(y), dense(weights)}, {dense(x)}, attrs, 5e-5);
    }
  job.run("few channels", -1, 1);
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t rounds = argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 120;
  operations();
  maps(rounds);
  reductions(rounds);
  maxima_of_nan();
  draws();
  for (const Reduced& reduced : {kExact, kTf32, kBf16}) products(reduced), convolutions(reduced);
  few_channels();
  return check::finish("test_cuda_ops");
}
