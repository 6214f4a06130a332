// Convolutions of few input channels: own kernels instead of cuDNN's, which are made for many.
#include "cuda/kernels/few_channels.h"

#include <cstddef>

#include "cuda/lower/dense.h"

namespace cf::cuda {
namespace {

constexpr size_t kMostInputs = 6, kMostSide = 3;  ///< a thread's weights stay in registers
constexpr uint32_t kPart = 3;                     ///< input channels whose gradients one thread makes, for the same reason
constexpr uint32_t kMostOutputs = 128;            ///< a warp of threads with four each
constexpr uint32_t kStrip = 16;

std::string head(const ConvShape& s) {
  const auto define = [](const char* name, size_t value) { return std::string("#define ") + name + " " + std::to_string(value) + "\n"; };
  return define("CF_I", s.i) + define("CF_KH", s.kh) + define("CF_KW", s.kw) + define("CF_PADDING", s.padding);
}

FewChannelsArgs arguments(const ConvShape& s, size_t across) {
  FewChannelsArgs args{};
  args.n = static_cast<uint32_t>(s.n), args.h = static_cast<uint32_t>(s.h), args.wide = static_cast<uint32_t>(s.w);
  args.oh = static_cast<uint32_t>(s.oh), args.ow = static_cast<uint32_t>(s.ow), args.o = static_cast<uint32_t>(s.o);
  args.strip = std::min(kStrip, static_cast<uint32_t>(across));
  return args;
}

void add(Lowering& l, const char* name, const FewChannelsArgs& args, Kernel k, std::array<uint32_t, 3> grid, std::array<uint32_t, 3> block, const Operand& w, const Operand& from,
         const Operand& to) {
  Launch& launch = l.kernel(name, std::move(k), args, grid, block);
  reads(launch, offsetof(FewChannelsArgs, w), w);
  reads(launch, offsetof(FewChannelsArgs, from), from);
  writes(launch, offsetof(FewChannelsArgs, to), to);
}

}  // namespace

bool few_channels(const ConvShape& s) { return s.i <= kMostInputs && s.kh <= kMostSide && s.kw <= kMostSide && s.stride == 1; }

bool few_channels_data_grad(const ConvShape& s) { return few_channels(s) && s.o % 4 == 0 && s.o <= kMostOutputs; }

void add_few_channels(Lowering& l, const ConvShape& s, const Place& x, const Place& w, const Place& y) {
  const FewChannelsArgs args = arguments(s, s.ow);
  const auto lanes = static_cast<uint32_t>(std::min<uint64_t>(round_up(s.o, 32), 128)), rows = 128 / lanes;
  const uint64_t units = uint64_t{args.n} * args.oh * ceil_div(args.ow, args.strip);
  add(l, "conv", args, {head(s) + "#include \"cuda/kernels/few_channels_forward.h\"\n"}, {static_cast<uint32_t>(ceil_div(units, rows)), static_cast<uint32_t>(ceil_div(s.o, lanes)), 1},
      {lanes, rows, 1}, {w, 4 * s.o * s.i * s.taps()}, {x, 4 * s.n * s.h * s.w * s.i}, {y, 4 * s.n * s.oh * s.ow * s.o});
}

void add_few_channels_data_grad(Lowering& l, const ConvShape& s, const Place& dy, const Place& w, const Place& dx) {
  const FewChannelsArgs args = arguments(s, s.w);
  uint32_t lanes = 1;
  while (4 * lanes < s.o) lanes *= 2;
  const uint64_t threads = lanes * uint64_t{args.n} * args.h * ceil_div(args.wide, args.strip);
  const auto parts = static_cast<uint32_t>(ceil_div(s.i, kPart));
  const auto part = static_cast<uint32_t>(ceil_div(s.i, parts));
  const std::string text = head(s) + "#define CF_LANES " + std::to_string(lanes) + "u\n#define CF_PART " + std::to_string(part) + "\n#include \"cuda/kernels/few_channels_data_grad.h\"\n";
  add(l, "conv_data_grad", args, {text, true}, {static_cast<uint32_t>(ceil_div(threads, 128)), parts, 1}, {128, 1, 1}, {w, 4 * s.o * s.i * s.taps()}, {dy, 4 * s.n * s.oh * s.ow * s.o},
      {dx, 4 * s.n * s.h * s.w * s.i});
}

}  // namespace cf::cuda
