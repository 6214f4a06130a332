#include "cpu/onednn.h"

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "common/error.h"
#include "cpu/device.h"

namespace cf::cpu::onednn {
namespace {

using dnnl::memory;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

/// The OpenMP team seen by the calling thread, for as long as this lives: oneDNN asks for it when a primitive is created, and uses it.
class TeamSize {
 public:
  explicit TeamSize(int threads) : before_(omp_get_max_threads()), dynamic_(omp_get_dynamic()) {
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
  }
  ~TeamSize() {
    omp_set_dynamic(dynamic_);
    omp_set_num_threads(before_);
  }
  TeamSize(const TeamSize&) = delete;
  TeamSize& operator=(const TeamSize&) = delete;

 private:
  int before_, dynamic_;
};

/// A primitive with its arguments bound to memory objects whose pointers are set at each run (the C++ execute() would build a map).
class Call {
 public:
  void add(int arg, const memory::desc& desc) {
    memories_.emplace_back(desc, engine(), nullptr);
    args_.push_back({arg, memories_.back().get()});
  }
  void set(dnnl::primitive primitive) { primitive_ = std::move(primitive); }
  void point(size_t index, const void* data) const {
    if (dnnl_memory_set_data_handle(args_[index].memory, const_cast<void*>(data)) != dnnl_success) fail("set_data_handle");
  }
  void execute(const dnnl::stream& stream) const {
    if (dnnl_primitive_execute(primitive_.get(), stream.get(), static_cast<int>(args_.size()), args_.data()) != dnnl_success) fail("execute");
  }

 private:
  [[noreturn]] static void fail(const char* what) { throw Error(Code::internal, "onednn", std::string("oneDNN failed to ") + what); }
  dnnl::primitive primitive_;
  std::vector<memory> memories_;
  std::vector<dnnl_exec_arg_t> args_;
};

/// oneDNN picks the layout of weights: `plain` ones are copied to it before (or from it after) the primitive, in scratch.
class Reordered : public Primitive {
 public:
  explicit Reordered(int threads) : threads_(threads), stream_(engine()) {}

  size_t scratch_bytes() const override { return scratchpad_offset_ + scratchpad_bytes_; }
  const char* implementation() const override { return name_.c_str(); }

  void run(const float* a, const float* b, const float* bias, float* out, char* scratch) const override {
    const TeamSize scope(threads_);
#pragma omp parallel num_threads(threads_)
    flush_denormals();
    const void* data[4] = {a, b, bias, out};
    if (reorder_slot_ >= 0) {
      const void* plain = data[reorder_slot_];
      data[reorder_slot_] = scratch;
      if (reorder_slot_ != kOut) {
        reorder_.point(0, plain);
        reorder_.point(1, scratch);
        reorder_.execute(stream_);
      }
    }
    size_t index = 0;
    for (int slot = 0; slot < 4; ++slot)
      if (slot != kBias || has_bias_) main_.point(index++, data[slot]);
    main_.point(index, scratch + scratchpad_offset_);
    main_.execute(stream_);
    if (reorder_slot_ == kOut) {
      reorder_.point(0, scratch);
      reorder_.point(1, out);
      reorder_.execute(stream_);
    }
    if (dnnl_stream_wait(stream_.get()) != dnnl_success) throw Error(Code::internal, "onednn", "oneDNN failed to finish");
  }

 protected:
  enum Slot { kA = 0, kB = 1, kBias = 2, kOut = 3 };

  /// `args` and `descs`: argument number and layout per slot; `plain`: the layout that the caller has in `reorder_slot`.
  template <class Desc, class Make>
  void prepare(const Desc& pd, Make make, const int (&args)[4], const memory::desc (&descs)[4], bool bias, int reorder_slot, const memory::desc& plain) {
    has_bias_ = bias;
    name_ = pd.impl_info_str();
    for (int slot = 0; slot < 4; ++slot)
      if (slot != kBias || bias) main_.add(args[slot], descs[slot]);
    main_.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
    scratchpad_bytes_ = pd.scratchpad_desc().get_size();
    main_.set(make(pd));
    if (reorder_slot >= 0 && !(descs[reorder_slot] == plain)) {
      reorder_slot_ = reorder_slot;
      const memory::desc& own = descs[reorder_slot];
      const bool out = reorder_slot == kOut;
      const dnnl::reorder::primitive_desc rpd(engine(), out ? own : plain, engine(), out ? plain : own);
      reorder_.add(DNNL_ARG_FROM, out ? own : plain);
      reorder_.add(DNNL_ARG_TO, out ? plain : own);
      reorder_.set(dnnl::reorder(rpd));
      scratchpad_offset_ = aligned(own.get_size());
    }
  }

 private:
  int threads_;
  dnnl::stream stream_;
  Call main_, reorder_;
  bool has_bias_ = false;
  int reorder_slot_ = -1;
  size_t scratchpad_offset_ = 0, scratchpad_bytes_ = 0;
  std::string name_;
};

memory::dim dim(size_t n) { return static_cast<memory::dim>(n); }

struct ConvDescs {
  explicit ConvDescs(const ConvShape& s)
      : x({dim(s.n), dim(s.i), dim(s.h), dim(s.w)}, memory::data_type::f32, memory::format_tag::nhwc),
        any({dim(s.o), dim(s.i), dim(s.kh), dim(s.kw)}, memory::data_type::f32, memory::format_tag::any),
        w({dim(s.o), dim(s.i), dim(s.kh), dim(s.kw)}, memory::data_type::f32, memory::format_tag::oihw),
        bias({dim(s.o)}, memory::data_type::f32, memory::format_tag::x),
        y({dim(s.n), dim(s.o), dim(s.oh), dim(s.ow)}, memory::data_type::f32, memory::format_tag::nhwc),
        strides{dim(s.stride), dim(s.stride)},
        pad_left{dim(s.padding), dim(s.padding)},
        // What is left over at the right and bottom edge may be less than the padding (then negative padding crops).
        pad_right{dim((s.oh - 1) * s.stride + s.kh) - dim(s.h + s.padding), dim((s.ow - 1) * s.stride + s.kw) - dim(s.w + s.padding)} {}
  memory::desc x, any, w, bias, y;
  memory::dims strides, pad_left, pad_right;
};

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

dnnl::convolution_forward::primitive_desc forward_desc(const ConvDescs& d, bool bias, const dnnl::primitive_attr& attr) {
  constexpr auto kind = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
  if (bias) return {engine(), kind, kDirect, d.x, d.any, d.bias, d.y, d.strides, d.pad_left, d.pad_right, attr};
  return {engine(), kind, kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right, attr};
#else
  if (bias) return {{kind, kDirect, d.x, d.any, d.bias, d.y, d.strides, d.pad_left, d.pad_right}, attr, engine()};
  return {{kind, kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right}, attr, engine()};
#endif
}

class Conv final : public Reordered {
 public:
  Conv(const ConvShape& s, bool bias, int threads) : Reordered(threads) {
    const ConvDescs d(s);
    const auto pd = forward_desc(d, bias, user_scratchpad());
    prepare(pd, [](const auto& p) { return dnnl::convolution_forward(p); }, {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
            {d.x, pd.weights_desc(), d.bias, d.y}, bias, kB, d.w);
  }
};

class ConvDataGrad final : public Reordered {
 public:
  ConvDataGrad(const ConvShape& s, int threads) : Reordered(threads) {
    const ConvDescs d(s);
    const auto hint = forward_desc(d, false, user_scratchpad());
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::convolution_backward_data::primitive_desc pd(engine(), kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right, hint, user_scratchpad());
#else
    const dnnl::convolution_backward_data::primitive_desc pd({kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right}, user_scratchpad(), engine(), hint);
#endif
    prepare(pd, [](const auto& p) { return dnnl::convolution_backward_data(p); },
            {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DIFF_SRC}, {d.y, pd.weights_desc(), d.bias, d.x}, false, kB, d.w);
  }
};

class ConvWeightGrad final : public Reordered {
 public:
  ConvWeightGrad(const ConvShape& s, int threads) : Reordered(threads) {
    const ConvDescs d(s);
    const auto hint = forward_desc(d, false, user_scratchpad());
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::convolution_backward_weights::primitive_desc pd(engine(), kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right, hint,
                                                                user_scratchpad());
#else
    const dnnl::convolution_backward_weights::primitive_desc pd({kDirect, d.x, d.any, d.y, d.strides, d.pad_left, d.pad_right}, user_scratchpad(), engine(),
                                                                hint);
#endif
    prepare(pd, [](const auto& p) { return dnnl::convolution_backward_weights(p); },
            {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_WEIGHTS}, {d.x, d.y, d.bias, pd.diff_weights_desc()}, false, kOut, d.w);
  }
};

class Matmul final : public Reordered {
 public:
  Matmul(const MatmulShape& s, bool bias, int threads) : Reordered(threads) {
    // A broadcast batch is a batch of one: strides of 0 are not oneDNN's way of saying it.
    const auto desc = [&](size_t rows, size_t cols, const size_t (&st)[3]) {
      const bool one = st[0] == 0 || s.batch == 1;
      return memory::desc({dim(one ? 1 : s.batch), dim(rows), dim(cols)}, memory::data_type::f32,
                          memory::dims{dim(one ? (st[1] > st[2] ? st[1] * rows : st[2] * cols) : st[0]), dim(st[1]), dim(st[2])});
    };
    const memory::desc a = desc(s.m, s.k, s.a), b = desc(s.k, s.n, s.b), y = desc(s.m, s.n, s.y);
    const memory::desc c({1, 1, dim(s.n)}, memory::data_type::f32, memory::format_tag::abc);
#if DNNL_VERSION_MAJOR >= 3
    const auto pd = bias ? dnnl::matmul::primitive_desc(engine(), a, b, c, y, user_scratchpad()) : dnnl::matmul::primitive_desc(engine(), a, b, y, user_scratchpad());
#else
    const auto pd = bias ? dnnl::matmul::primitive_desc({a, b, c, y}, user_scratchpad(), engine()) : dnnl::matmul::primitive_desc({a, b, y}, user_scratchpad(), engine());
#endif
    prepare(pd, [](const auto& p) { return dnnl::matmul(p); }, {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST}, {a, b, c, y}, bias, -1, b);
  }
};

template <class T, class... Args>
std::unique_ptr<Primitive> make(int threads, const Args&... args) {
  const TeamSize scope(threads);
  try {
    return std::make_unique<T>(args..., threads);
  } catch (const dnnl::error& e) {
    throw Error(Code::unsupported, "onednn", std::string("oneDNN refuses this shape: ") + e.what());
  }
}

}  // namespace

std::unique_ptr<Primitive> conv(const ConvShape& shape, bool bias, int threads) { return make<Conv>(threads, shape, bias); }
std::unique_ptr<Primitive> conv_data_grad(const ConvShape& shape, int threads) { return make<ConvDataGrad>(threads, shape); }
std::unique_ptr<Primitive> conv_weight_grad(const ConvShape& shape, int threads) { return make<ConvWeightGrad>(threads, shape); }
std::unique_ptr<Primitive> matmul(const MatmulShape& shape, bool bias, int threads) { return make<Matmul>(threads, shape, bias); }

}  // namespace cf::cpu::onednn
