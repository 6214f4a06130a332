#include "cuda/lower/sum.h"

#include <cstddef>

#include "cuda/kernels/sum.h"

namespace cf::cuda {

void add_column_sums(Lowering& l, const std::string& name, const Operand& in, bool doubles, uint64_t rows, uint32_t columns, const Operand& out,
                     const Operand* second, uint32_t split) {
  constexpr uint64_t kRows = 64;  // that a thread adds at least before a second launch pays
  SumArgs args{};
  args.rows = rows, args.columns = columns, args.split = second ? split : columns;
  args.width = 1;
  while (args.width < 32 && args.width < columns) args.width *= 2;
  const uint32_t groups = (columns + args.width - 1) / args.width, lines = 256 / args.width;
  const auto slices = static_cast<uint32_t>(std::max<uint64_t>(1, std::min<uint64_t>(4 * l.target.multiprocessors / groups, rows / (kRows * lines))));
  const auto add = [&](const Operand& from, bool wide, const Operand* partial, uint32_t blocks) {
    const std::string text = std::string("#define CF_IN ") + (wide ? "double" : "float") + "\n#include \"cuda/kernels/sum.h\"\n";
    Launch& launch = l.kernel(name, {text, true}, args, {groups, blocks, 1}, {256, 1, 1});
    reads(launch, offsetof(SumArgs, in), from);
    if (partial) return writes(launch, offsetof(SumArgs, partial), *partial);
    writes(launch, offsetof(SumArgs, out), out);
    if (second) writes(launch, offsetof(SumArgs, second), *second);
  };
  if (slices == 1) return add(in, doubles, nullptr, 1);
  const Operand partial = temporary(l, 8 * uint64_t{slices} * columns);
  add(in, doubles, &partial, slices);
  args.rows = slices;
  add(partial, true, nullptr, 1);
}

}  // namespace cf::cuda
