// The kernels alone: each call is a program of one instruction (a convolution by Winograd: two), validated like any other.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "abi/direct.h"
#include "abi/guard.h"
#include "abi/handles.h"
#include "cpu/device.h"
#include "cpu/kernels/random.h"
#include "program/decode.h"

using namespace cf;
using namespace cf::abi;

namespace {

/// Collects buffers with one dense tensor each.
class Maker {
 public:
  Maker() { p_.names.emplace_back("direct"); }

  uint32_t tensor(BufferKind kind, const char* name, std::vector<uint32_t> shape) {
    uint64_t elements = 1;
    for (uint32_t d : shape) elements *= d;
    const bool arena = kind == BufferKind::arena;
    Buffer b{kind, DType::f32, arena ? p_.arena_bytes : 0, elements * 4, arena ? "" : name, arena ? std::vector<uint32_t>{} : shape};
    if (arena) p_.arena_bytes += (elements * 4 + 63) / 64 * 64;
    p_.buffers.push_back(std::move(b));
    const auto buffer = static_cast<uint32_t>(p_.buffers.size() - 1);
    return window(buffer, shape, dense(shape));
  }
  uint32_t window(uint32_t buffer, const std::vector<uint32_t>& shape, const std::vector<uint32_t>& strides) {
    Tensor t{};
    t.buffer = buffer, t.dtype = DType::f32, t.rank = static_cast<uint32_t>(shape.size()), t.offset = 0;
    for (size_t k = 0; k < shape.size(); ++k) t.dims[k] = shape[k], t.strides[k] = strides[k];
    p_.tensors.push_back(t);
    return static_cast<uint32_t>(p_.tensors.size() - 1);
  }
  uint32_t buffer_of(uint32_t tensor) const { return p_.tensors[tensor].buffer; }
  void add(Op op, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs, std::vector<uint32_t> attrs) {
    p_.instrs.push_back({op, 0, std::move(inputs), std::move(outputs), std::move(attrs)});
  }
  Program take() {
    p_.commit = static_cast<uint32_t>(p_.instrs.size());
    validate(p_);
    return std::move(p_);
  }

 private:
  static std::vector<uint32_t> dense(const std::vector<uint32_t>& shape) {
    std::vector<uint32_t> strides(shape.size());
    uint32_t step = 1;
    for (size_t k = shape.size(); k-- > 0; step *= shape[k]) strides[k] = step;
    return strides;
  }
  Program p_;
};

std::string key_of(const char* op, std::initializer_list<uint32_t> numbers) {
  std::string key = op;
  for (uint32_t n : numbers) key += " " + std::to_string(n);
  return key;
}

/// Sizes that multiply to at most 2^31 elements, so that nothing overflows on the way to the validator.
void check_sizes(const char* op, std::initializer_list<uint32_t> sizes) {
  uint64_t elements = 1;
  for (uint32_t s : sizes) {
    require(s > 0, op, "expected positive sizes, found 0");
    elements *= s;
    require(elements <= (uint64_t{1} << 31), op, "expected at most 2^31 elements");
  }
}


uint32_t code(ExprOp op) { return static_cast<uint32_t>(op); }

int32_t coupling(const char* op, Op instr, cf_context ctx, const float* in, const float* params, const float* rescale, uint32_t n, uint32_t pixels,
                 uint32_t channels, uint32_t components, float* out, float* logdet, cf_error* err) noexcept {
  return guarded(op, err, [&] {
    require(in && params && rescale && out && logdet, op, "expected pointers to all tensors, found NULL");
    require(components > 0 && components <= 1024, op, "expected 1 to 1024 components, found " + std::to_string(components));
    check_sizes(op, {n, pixels, channels, 2 + 3 * components});
    const auto make = [&] {
      Maker m;
      const uint32_t x = m.tensor(BufferKind::feed, "x", {n, pixels, channels});
      const uint32_t p = m.tensor(BufferKind::feed, "params", {n, pixels, channels * (2 + 3 * components)});
      const uint32_t r = m.tensor(BufferKind::feed, "rescale", {channels});
      const uint32_t y = m.tensor(BufferKind::fetch, "y", {n, pixels, channels});
      const uint32_t l = m.tensor(BufferKind::fetch, "logdet", {n});
      m.add(instr, {x, p, r}, {y, l}, {components});
      return m.take();
    };
    run_direct(ctx, op, key_of(op, {n, pixels, channels, components}), make, {{in, params, rescale}, {out, logdet}});
  });
}

}  // namespace

int32_t cf_conv2d(cf_context ctx, const float* x, uint32_t n, uint32_t height, uint32_t width, uint32_t channels_in, const float* weight, const float* bias,
                  uint32_t channels_out, uint32_t kernel, uint32_t stride, uint32_t padding, float* y, cf_error* err) noexcept {
  const char* op = "cf_conv2d";
  return guarded(op, err, [&] {
    require(x && weight && y, op, "expected pointers to x, weight and y, found NULL");
    require(kernel > 0 && kernel <= 64 && stride > 0 && stride <= 64 && padding <= 64, op, "expected a kernel and stride of 1 to 64 and a padding of at most 64");
    require(height + 2 * padding >= kernel && width + 2 * padding >= kernel, op, "expected images at least as large as the kernel");
    check_sizes(op, {n, height + 2 * padding, width + 2 * padding, channels_in});
    check_sizes(op, {channels_out, channels_in, kernel, kernel});
    const uint32_t oh = (height + 2 * padding - kernel) / stride + 1, ow = (width + 2 * padding - kernel) / stride + 1;
    check_sizes(op, {n, oh, ow, channels_out});
    const auto make = [&] {
      const bool winograd = kernel == 3 && stride == 1 && padding == 1 && channels_in >= 16 && channels_out >= 16 && Handles::instance().context(ctx, op)->device().winograd;
      Maker m;
      const uint32_t in = m.tensor(BufferKind::feed, "x", {n, height, width, channels_in});
      uint32_t w = m.tensor(BufferKind::feed, "weight", {channels_out, channels_in, kernel, kernel});
      std::vector<uint32_t> inputs{in};
      if (winograd) {
        const uint32_t u = m.tensor(BufferKind::arena, "", {36 * ((channels_in + 15) / 16 * 16) * ((channels_out + 31) / 32 * 32)});
        m.add(Op::winograd_weights, {w}, {u}, {0});
        w = u;
      }
      inputs.push_back(w);
      if (bias) inputs.push_back(m.tensor(BufferKind::feed, "bias", {channels_out}));
      const uint32_t out = m.tensor(BufferKind::fetch, "y", {n, oh, ow, channels_out});
      m.add(Op::conv, inputs, {out}, {stride, padding, winograd ? 1u : 0u, channels_out, channels_in, kernel, kernel, bias ? 1u : 0u});
      return m.take();
    };
    Transfer t{{x, weight}, {y}};
    if (bias) t.feeds.push_back(bias);
    run_direct(ctx, op, key_of(op, {n, height, width, channels_in, channels_out, kernel, stride, padding, bias ? 1u : 0u}), make, t);
  });
}

int32_t cf_coupling_forward(cf_context ctx, const float* x, const float* params, const float* rescale, uint32_t n, uint32_t pixels, uint32_t channels,
                            uint32_t components, float* y, float* logdet, cf_error* err) noexcept {
  return coupling("cf_coupling_forward", Op::mixture, ctx, x, params, rescale, n, pixels, channels, components, y, logdet, err);
}

int32_t cf_coupling_inverse(cf_context ctx, const float* y, const float* params, const float* rescale, uint32_t n, uint32_t pixels, uint32_t channels,
                            uint32_t components, float* x, float* logdet, cf_error* err) noexcept {
  return coupling("cf_coupling_inverse", Op::mixture_inverse, ctx, y, params, rescale, n, pixels, channels, components, x, logdet, err);
}

int32_t cf_langevin_update(cf_context ctx, const float* x, const float* gradient, const float* noise, uint32_t count, float step_size, float move_clamp,
                           float low, float high, float* out, cf_error* err) noexcept {
  const char* op = "cf_langevin_update";
  return guarded(op, err, [&] {
    require(x && gradient && out, op, "expected pointers to x, gradient and out, found NULL");
    require(std::isfinite(step_size) && step_size > 0, op, "expected a positive step size");
    require(move_clamp > 0 && low < high, op, "expected move_clamp > 0 and low < high (infinities for no limit)");
    check_sizes(op, {count});
    const auto make = [&] {
      Maker m;
      const uint32_t in = m.tensor(BufferKind::feed, "x", {count}), g = m.tensor(BufferKind::feed, "gradient", {count});
      std::vector<uint32_t> inputs{in, g};
      if (noise) inputs.push_back(m.tensor(BufferKind::feed, "noise", {count}));
      const std::vector<uint32_t> shape{count}, repeated{0};
      for (const char* name : {"half_square", "step", "clamp", "minus_clamp", "low", "high"})
        inputs.push_back(m.window(m.buffer_of(m.tensor(BufferKind::feed, name, {1})), shape, repeated));
      const uint32_t y = m.tensor(BufferKind::fetch, "y", {count});
      // Value ids: inputs first, then one per instruction.
      const auto s = static_cast<uint32_t>(inputs.size()) - 6;
      uint32_t next = static_cast<uint32_t>(inputs.size());
      std::vector<uint32_t> words{0, 0};
      const auto emit = [&](ExprOp e, uint32_t a, uint32_t b) {
        for (uint32_t word : {code(e), a, b, 0u}) words.push_back(word);
        ++words[1];
        return next++;
      };
      uint32_t v = emit(ExprOp::mul, s, 1);
      v = emit(ExprOp::min, emit(ExprOp::max, v, s + 3), s + 2);
      v = emit(ExprOp::add, 0, v);
      if (noise) v = emit(ExprOp::add, v, emit(ExprOp::mul, s + 1, 2));
      v = emit(ExprOp::min, emit(ExprOp::max, v, s + 4), s + 5);
      words.push_back(v);
      m.add(Op::map, inputs, {y}, words);
      return m.take();
    };
    const float half = 0.5f * step_size * step_size, minus = -move_clamp;
    Transfer t{{x, gradient}, {out}};
    if (noise) t.feeds.push_back(noise);
    t.feeds.insert(t.feeds.end(), {&half, &step_size, &move_clamp, &minus, &low, &high});
    run_direct(ctx, op, key_of(op, {count, noise ? 1u : 0u}), make, t);
  });
}

int32_t cf_uniforms(cf_context ctx, uint32_t seed, uint32_t stream, uint32_t count, float* out, cf_error* err) noexcept {
  const char* op = "cf_uniforms";
  return guarded(op, err, [&] {
    require(out != nullptr || count == 0, op, "out is NULL");
    Handles::instance().context(ctx, op);  // has to be open, whatever its device: the host draws
    const auto draw = CF_PICK(cpu::available_isas().front(), draw_uniform);
    draw(cpu::DrawKey{seed, stream, 0, 0, 0}, count, 0, cpu::blocks_of(count), out);
  });
}
