// Philox draws, bit for bit the CPU's: a counter a thread, four draws each.
#include <algorithm>

#include "cuda/codegen/kernel_source.h"

namespace cf::cuda {

void lower_random(Lowering& l) {
  check_random(l.program, l.instr());
  const Tensor &key = l.input(0), &out = l.output(0);
  const uint32_t kind = l.instr().attrs[0], stream = l.instr().attrs[1], attr = l.instr().attrs[2];
  // Outside of a loop its index is 0.
  const uint32_t level = attr <= l.loops.size() ? attr : 0;
  Arguments operands({l.window(key)}, {l.window(out)}, level > 0);
  operands.input_type = "unsigned";
  const uint64_t samples = out.dims[0], each = out.elements() / samples, blocks = (each + 3) / 4, counters = samples * blocks;
  const std::string type = out.elements() < 1u << 31 ? "unsigned" : "unsigned long long";
  const auto number = [&](uint64_t v) { return literal(v, type); };
  bool aligned = each % 4 == 0 && out.offset % 4 == 0;
  for (const uint32_t s : operands.outputs()[0].loop_strides) aligned = aligned && s % 4 == 0;

  std::string text = kernel_head() + operands.struct_source() + "CF_KERNEL(const Args a) {\n" + operands.base_source();
  text += "  const unsigned seed = x0[0], iteration = x0[1], first = x0[2], loop = " + (level ? "a.loops[" + std::to_string(level - 1) + "]" : std::string("0u")) + ";\n";
  text += "  for (" + type + " u = blockIdx.x * " + number(kThreads) + " + threadIdx.x; u < " + number(counters) + "; u += gridDim.x * " + number(kThreads) + ") {\n";
  text += "    const " + type + " row = u / " + number(blocks) + ", block = u % " + number(blocks) + ";\n";
  text += "    unsigned w[4];\n    float v[4];\n";
  text += "    philox_at(seed, " + std::to_string(stream) + "u, static_cast<unsigned>(block), first + static_cast<unsigned>(row), iteration, loop, w);\n";
  if (kind == 1) text += "    normal_pair(w[0], w[1], v[0], v[1]);\n    normal_pair(w[2], w[3], v[2], v[3]);\n";
  else text += "    for (int i = 0; i < 4; ++i) v[i] = uniform_from(w[i]);\n";
  text += "    float* const to = y0 + row * " + number(each) + " + block * 4u;\n";
  if (aligned) text += "    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);\n";
  else text += "    for (unsigned i = 0; i < 4u; ++i)\n      if (block * 4u + i < " + number(each) + ") to[i] = v[i];\n";
  text += "  }\n}\n";
  const uint64_t grid = std::min<uint64_t>((counters + kThreads - 1) / kThreads, uint64_t{l.target.multiprocessors} * kBlocksEach);
  operands.launch(l, "random", text, false, {static_cast<uint32_t>(grid), 1, 1}, kThreads);
}

}  // namespace cf::cuda
