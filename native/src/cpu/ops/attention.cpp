// Softmax attention and its gradient.
#include "cpu/kernels/attention.h"

#include "common/philox.h"
#include "cpu/kernel.h"
#include "cpu/ops/parallel.h"
#include "program/operands.h"

namespace cf::cpu {
namespace {

constexpr double kParallelFlops = 400e3;  ///< from which a second thread pays for its start
constexpr size_t kMostParts = 8;

float dropout_of(const Operands& o) {
  const float p = o.attr_float(1);
  if (!(p >= 0.0f && p < 1.0f)) o.bad("expected a dropout of at least 0 and below 1, found " + std::to_string(p));
  return p;
}
AttentionShape shape_of(const Operands& o, const Tensor& kvq) {
  const size_t heads = o.attr(0), length = kvq.dims[1], wide = kvq.dims[2];
  if (heads < 1 || wide % 3 || (wide / 3) % heads) o.bad("expected 3 · heads · d channels, found " + std::to_string(wide) + " for " + std::to_string(heads) + " heads");
  if (static_cast<double>(heads * length) * static_cast<double>(length) >= 4294967296.0) o.bad("too long: an image has more weights than there are draws");
  return {kvq.dims[0], length, heads, wide / 3 / heads};
}
double weights(const AttentionShape& s) { return static_cast<double>(s.items() * s.length) * static_cast<double>(s.length); }

/// Who does what: items are cut into parts of their queries or keys when there are too few of them to keep all threads busy.
struct Split {
  size_t threads = 1, parts = 1;

  Split(const AttentionShape& s, double flops, int most) {
    if (flops < kParallelFlops) return;
    const size_t wanted = static_cast<size_t>(most), cuts = ceil_div(s.length, kAttentionGrain);
    double best = 1e30;
    for (size_t n = 1; n <= kMostParts && n <= cuts; ++n) {
      const double time = static_cast<double>(ceil_div(s.items() * n, wanted)) * static_cast<double>(ceil_div(cuts, n));
      if (time < best) best = time, parts = n;
    }
    threads = wanted < s.items() * parts ? wanted : s.items() * parts;
  }
  /// f(thread, item, part, its range) for all parts of all items; a thread's own follow each other.
  template <class F>
  void each(const AttentionShape& s, const Run& run, F&& f) const {
    parallel_units(static_cast<int>(threads), s.items() * parts, [&](size_t t, size_t u) {
      if (!run.cancelled()) f(t, u / parts, u % parts, part_of(s.length, parts, u % parts, kAttentionGrain));
    });
  }
};

/// attrs: [heads, dropout bits, stream hash, loop level + 1].
class Attention final : public Kernel {
 public:
  Attention(const Program& program, const Instr& instr, const Device& device) : queries_(CF_PICK(device.isa, attention_queries)) {
    const bool has_key = instr.inputs.size() == 2;
    const Operands o(program, instr, has_key ? 2 : 1, has_key ? 3 : 2, 4);
    const float p = dropout_of(o);
    if (has_key != (p > 0.0f)) o.bad(p > 0.0f ? "dropout needs a key" : "a key without dropout");
    kvq_ = o.input_of_rank(0, "kvq", 3);
    shape_ = shape_of(o, kvq_);
    out_ = o.output(0, "out", {shape_.images, shape_.length, shape_.channels()}), lse_ = o.output(1, "lse", {shape_.images, shape_.heads, shape_.length});
    dropout_.threshold = p > 0.0f ? dropout_threshold(p) : 0;
    dropout_.scale = 1.0f / (1.0f - p);
    dropout_.stream = o.attr(2);
    level_ = o.attr(3);
    if (level_ > kMaxLoops) o.bad("expected a loop level below " + std::to_string(kMaxLoops) + ", found " + std::to_string(level_ - 1));
    if (has_key) {
      key_ = o.input(1, "key", {4}, DType::u32);
      kept_ = o.output(2, "kept", {shape_.images, shape_.heads, shape_.kept_words()}, DType::u32);
    }
    split_ = Split(shape_, flops(), device.threads);
    floats_ = round_up(attention_scratch_floats(shape_), 16);
  }

  size_t own_bytes() const override { return floats_ * sizeof(float); }
  double flops() const override { return weights(shape_) * 4.0 * static_cast<double>(shape_.head); }

  void run(const Run& run) const override {
    AttentionArgs a{};
    a.shape = shape_;
    a.dropout = dropout_;
    a.kvq = run.f32(kvq_), a.out = run.f32(out_), a.lse = run.f32(lse_);
    if (dropout_.threshold) {
      const uint32_t* key = run.u32(key_);
      a.dropout.seed = key[0], a.dropout.iteration = key[1], a.dropout.first_sample = key[2];
      a.dropout.loop = level_ ? run.loop(level_ - 1) : 0;
      a.kept = run.u32(kept_);
    }
    split_.each(shape_, run, [&](size_t t, size_t item, size_t, Part range) { queries_(a, item, range.begin, range.end, run.own_floats(t)); });
  }

 private:
  decltype(&portable::attention_queries) queries_;
  AttentionShape shape_{};
  AttentionDropout dropout_{};
  Tensor kvq_, out_, lse_, kept_, key_;
  uint32_t level_ = 0;
  Split split_{{}, 0, 1};
  size_t floats_ = 0;
};

/// attrs: [heads, dropout bits].
class AttentionGrad final : public Kernel {
 public:
  AttentionGrad(const Program& program, const Instr& instr, const Device& device)
      : keys_(CF_PICK(device.isa, attention_grad_keys)), queries_(CF_PICK(device.isa, attention_grad_queries)) {
    const bool has_kept = instr.inputs.size() == 5;
    const Operands o(program, instr, has_kept ? 5 : 4, 1, 2);
    const float p = dropout_of(o);
    if (has_kept != (p > 0.0f)) o.bad(p > 0.0f ? "dropout needs the kept bits" : "kept bits without dropout");
    kvq_ = o.input_of_rank(0, "kvq", 3);
    shape_ = shape_of(o, kvq_);
    const std::vector<size_t> like_out{shape_.images, shape_.length, shape_.channels()};
    out_ = o.input(1, "out", like_out), lse_ = o.input(2, "lse", {shape_.images, shape_.heads, shape_.length}), dout_ = o.input(3, "dout", like_out);
    if (has_kept) kept_ = o.input(4, "kept", {shape_.images, shape_.heads, shape_.kept_words()}, DType::u32);
    dkvq_ = o.output(0, "dkvq", Operands::dims_of(kvq_));
    scale_ = 1.0f / (1.0f - p), dropout_ = p > 0.0f;
    split_ = Split(shape_, flops(), device.threads);
    floats_ = round_up(attention_grad_scratch_floats(shape_), 16);
    partial_floats_ = round_up(attention_query_grad_floats(shape_), 16);
  }

  size_t scratch_bytes() const override { return whole() ? 0 : shape_.items() * split_.parts * partial_floats_ * sizeof(float); }
  size_t own_bytes() const override { return (floats_ + (whole() ? partial_floats_ : 0)) * sizeof(float); }
  double flops() const override { return weights(shape_) * 10.0 * static_cast<double>(shape_.head); }

  void run(const Run& run) const override {
    AttentionArgs a{};
    a.shape = shape_;
    a.dropout.threshold = dropout_, a.dropout.scale = scale_;
    a.kvq = run.f32(kvq_), a.out = run.f32(out_), a.lse = run.f32(lse_), a.dout = run.f32(dout_), a.dkvq = run.f32(dkvq_);
    if (dropout_) a.kept = run.u32(kept_);
    float* const partials = reinterpret_cast<float*>(run.scratch());
    split_.each(shape_, run, [&](size_t t, size_t item, size_t part, Part range) {
      float* const own = run.own_floats(t);
      float* const dq = whole() ? own + floats_ : partials + (item * split_.parts + part) * partial_floats_;
      keys_(a, item, range.begin, range.end, dq, own);
      if (whole()) queries_(a, item, dq, 1);
    });
    if (whole()) return;
    parallel_for(static_cast<int>(split_.threads), shape_.items(), [&](size_t item) { queries_(a, item, partials + item * split_.parts * partial_floats_, split_.parts); });
  }

 private:
  /// Whole items are finished by the thread that began them; parts of one wait for each other.
  bool whole() const { return split_.parts == 1; }

  decltype(&portable::attention_grad_keys) keys_;
  decltype(&portable::attention_grad_queries) queries_;
  AttentionShape shape_{};
  float scale_ = 1;
  bool dropout_ = false;
  Tensor kvq_, out_, lse_, dout_, kept_, dkvq_;
  Split split_{{}, 0, 1};
  size_t floats_ = 0, partial_floats_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_attention(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<Attention>(program, instr, device);
}
std::unique_ptr<Kernel> make_attention_grad(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<AttentionGrad>(program, instr, device);
}

}  // namespace cf::cpu
