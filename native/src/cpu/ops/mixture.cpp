// Mixture-of-logistics coupling: density direction, its gradient, sampling direction.
#include "cpu/kernels/mixture.h"

#include "cpu/kernel.h"
#include "program/operands.h"
#include "cpu/ops/parallel.h"

namespace cf::cpu {
namespace {

constexpr size_t kPoll = 8;              ///< tiles between two looks at the cancel flag
constexpr double kParallelTerms = 3000;  ///< elements times components from which a second thread pays for its start
constexpr size_t kMaxComponents = 64;

/// What the three ops share: shape, split of the tiles over threads, scratch, log-determinants.
class MixtureKernel : public Kernel {
 public:
  size_t scratch_bytes() const override {
    Scratch s;
    layout(s);
    return s.used();
  }
  size_t own_bytes() const override { return shape_.scratch_floats() * sizeof(float); }

 protected:
  MixtureKernel(const Operands& o, const Device& device) {
    const Tensor &x = o.input_of_rank(0, "x", 3), &p = o.input_of_rank(1, "p", 3);
    const size_t k = o.attr(0);
    if (k < 1 || k > kMaxComponents) o.bad("expected 1 to 64 components, found " + std::to_string(k));
    shape_ = {x.dims[0], x.dims[1], x.dims[2], k};
    const size_t n = shape_.images, c = shape_.channels;
    o.input(1, "p", {n, shape_.pixels, c * shape_.groups()});
    x_ = x, p_ = p, rescale_ = o.input(2, "rescale", {c});
    const double terms = static_cast<double>(n * shape_.pixels) * static_cast<double>(c * k);
    threads_ = terms < kParallelTerms ? 1 : device.threads;
  }

  std::vector<size_t> image_dims() const { return {shape_.images, shape_.pixels, shape_.channels}; }
  std::vector<size_t> parameter_dims() const { return {shape_.images, shape_.pixels, shape_.channels * shape_.groups()}; }

  struct Layout {
    double* logdet;    ///< tile by tile
    double* drescale;  ///< thread by thread
  };
  Layout layout(Scratch& s) const {
    Layout l;
    const size_t threads = static_cast<size_t>(threads_);
    l.logdet = reinterpret_cast<double*>(s.bytes(shape_.tiles() * sizeof(double)));
    l.drescale = reinterpret_cast<double*>(s.bytes(threads * shape_.channels * sizeof(double)));
    return l;
  }

  MixtureArgs args(const Run& run, const Layout& l) const {
    MixtureArgs a{};
    a.shape = shape_;
    a.x = run.f32(x_), a.p = run.f32(p_), a.rescale = run.f32(rescale_);
    a.logdet = l.logdet;
    return a;
  }

  /// f(begin, end, scratch, thread) over all tiles, in runs short enough for prompt cancelling.
  template <class F>
  void for_tiles(const Run& run, F&& f) const {
    const size_t threads = static_cast<size_t>(threads_);
    parallel_for(threads_, threads, [&](size_t t) {
      const Part part = part_of(shape_.tiles(), threads, t);
      for (size_t at = part.begin; at < part.end && !run.cancelled(); at += kPoll)
        f(at, at + kPoll < part.end ? at + kPoll : part.end, run.own_floats(t), t);
    });
  }

  void sum_logdet(const Layout& l, float* out) const {
    const size_t per_image = shape_.image_tiles();
    for (size_t n = 0; n < shape_.images; ++n) {
      double sum = 0;
      for (size_t i = 0; i < per_image; ++i) sum += l.logdet[n * per_image + i];
      out[n] = static_cast<float>(sum);
    }
  }

  double terms() const { return static_cast<double>(shape_.images * shape_.pixels * shape_.channels * shape_.components); }

  MixtureShape shape_;
  Tensor x_, p_, rescale_;
  int threads_;
};

/// Both directions look alike from outside: x, p, rescale → y, logdet.
class Mixture final : public MixtureKernel {
 public:
  using Tiles = decltype(&portable::mixture_tiles);
  Mixture(const Operands& o, const Device& device, Tiles tiles, double flops)
      : MixtureKernel(o, device), y_(o.output(0, "y", image_dims())), logdet_(o.output(1, "logdet", {shape_.images})), tiles_(tiles), flops_(flops) {}

  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Layout l = layout(scratch);
    MixtureArgs a = args(run, l);
    a.y = run.f32(y_);
    for_tiles(run, [&](size_t begin, size_t end, float* tile, size_t) { tiles_(a, begin, end, tile); });
    if (!run.cancelled()) sum_logdet(l, run.f32(logdet_));
  }
  double flops() const override { return flops_ * terms(); }

 private:
  Tensor y_, logdet_;
  Tiles tiles_;
  double flops_;  ///< per element and component
};

class MixtureGrad final : public MixtureKernel {
 public:
  MixtureGrad(const Operands& o, const Device& device)
      : MixtureKernel(o, device),
        dy_(o.input(3, "dy", image_dims())),
        dlogdet_(o.input(4, "dlogdet", {shape_.images})),
        dx_(o.output(0, "dx", image_dims())),
        dp_(o.output(1, "dp", parameter_dims())),
        drescale_(o.output(2, "drescale", {shape_.channels})),
        tiles_(CF_PICK(device.isa, mixture_grad_tiles)) {}

  void run(const Run& run) const override {
    Scratch scratch(run.scratch());
    const Layout l = layout(scratch);
    MixtureArgs a = args(run, l);
    a.dy = run.f32(dy_), a.dlogdet = run.f32(dlogdet_), a.y = run.f32(dx_), a.dp = run.f32(dp_);
    const size_t c = shape_.channels, threads = static_cast<size_t>(threads_);
    for (size_t i = 0; i < threads * c; ++i) l.drescale[i] = 0;
    for_tiles(run, [&](size_t begin, size_t end, float* tile, size_t t) { tiles_(a, begin, end, tile, l.drescale + t * c); });
    if (run.cancelled()) return;
    float* out = run.f32(drescale_);
    for (size_t i = 0; i < c; ++i) {
      double sum = 0;
      for (size_t t = 0; t < threads; ++t) sum += l.drescale[t * c + i];
      out[i] = static_cast<float>(sum);
    }
  }
  double flops() const override { return 80 * terms(); }

 private:
  Tensor dy_, dlogdet_, dx_, dp_, drescale_;
  decltype(&portable::mixture_grad_tiles) tiles_;
};

}  // namespace

std::unique_ptr<Kernel> make_mixture(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<Mixture>(Operands(program, instr, 3, 2, 1), device, CF_PICK(device.isa, mixture_tiles), 60);
}

std::unique_ptr<Kernel> make_mixture_grad(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<MixtureGrad>(Operands(program, instr, 5, 3, 1), device);
}

std::unique_ptr<Kernel> make_mixture_inverse(const Program& program, const Instr& instr, const Device& device) {
  return std::make_unique<Mixture>(Operands(program, instr, 3, 2, 1), device, CF_PICK(device.isa, mixture_inverse_tiles), 180);
}

}  // namespace cf::cpu
