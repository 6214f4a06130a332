#include "executor/device_memory.h"

#include <algorithm>
#include <cstdio>

#include "program/decode.h"

namespace cf {
namespace {

constexpr size_t kNamed = 3;  ///< buffers: messages are short

}  // namespace

std::string size_text(uint64_t bytes) {
  char text[32];
  if (bytes >= 1ull << 30) std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1ull << 30));
  else std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1ull << 20));
  return text;
}

Error out_of_memory(const std::string& device, const std::string& what, uint64_t bytes, const FreeMemory& memory) {
  return {Code::out_of_memory, "memory",
          "not enough memory on " + device + " for " + what + ": " + size_text(bytes) + " were asked for, " + size_text(memory.free) + " of " + size_text(memory.total) + " are free"};
}

MemoryNeeds::MemoryNeeds(const Program& program) : arena_(program.arena_bytes) {
  for (const Buffer& b : program.buffers)
    if (b.kind == BufferKind::feed || b.kind == BufferKind::fetch) ports_ += b.bytes;
  // A buffer is called what first writes it.
  std::vector<const Instr*> writer(program.buffers.size());
  for (const Instr& instr : program.instrs)
    for (const uint32_t id : instr.outputs) {
      const Instr*& first = writer[program.tensors[id].buffer];
      if (!first && instr.op != Op::repeat) first = &instr;
    }
  std::vector<uint32_t> order;
  for (uint32_t b = 0; b < program.buffers.size(); ++b)
    if (program.buffers[b].kind == BufferKind::arena && writer[b]) order.push_back(b);
  const size_t named = std::min(kNamed, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<long>(named), order.end(),
                    [&](uint32_t a, uint32_t b) { return program.buffers[a].bytes != program.buffers[b].bytes ? program.buffers[a].bytes > program.buffers[b].bytes : a < b; });
  for (size_t i = 0; i < named; ++i) {
    const Instr& instr = *writer[order[i]];
    const std::string layer = instr.name < program.names.size() ? program.names[instr.name] : "";
    largest_ += (i ? ", " : "") + size_text(program.buffers[order[i]].bytes) + " by " + op_name(instr.op) + (layer.empty() ? "" : " of " + layer);
  }
}

std::string MemoryNeeds::text(uint64_t scratch, uint64_t state) const {
  return "The program needs " + size_text(bytes(scratch)) + " beside " + size_text(state) + " of state: " + size_text(arena_) + " of temporaries" +
         (largest_.empty() ? "" : " (the largest: " + largest_ + ")") + (scratch ? ", " + size_text(scratch) + " of scratch" : "") +
         (ports_ ? ", " + size_text(ports_) + " of feeds and fetches" : "");
}

}  // namespace cf
