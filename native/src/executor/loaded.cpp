#include "executor/context.h"
#include "program/decode.h"

namespace cf {
namespace {

/// Bytes of the distinct elements that an instruction reads and writes in one call: what a broadcast repeats counts once.
uint64_t moved_bytes(const Program& program, const Instr& instr) {
  uint64_t elements = 0;
  for (const auto* ids : {&instr.inputs, &instr.outputs})
    for (uint32_t id : *ids) {
      const Tensor& t = program.tensors[id];
      uint64_t distinct = 1;
      for (uint32_t k = 0; k < t.rank; ++k)
        if (t.strides[k] != 0) distinct *= t.dims[k];
      elements += distinct;
    }
  return 4 * elements;
}

}  // namespace

Loaded::Loaded(Program program, const std::shared_ptr<Backend>& backend) : executable_(backend->prepare(program)) {
  total_steps = count_steps(program);
  scratch_bytes = executable_->scratch_bytes;
  watches = executable_->watches;
  std::vector<std::pair<uint32_t, double>> loops;  // end, trips
  for (uint32_t i = 0; i < program.instrs.size(); ++i) {
    while (!loops.empty() && loops.back().first == i) loops.pop_back();
    const Instr& instr = program.instrs[i];
    const double trips = loops.empty() ? 1 : loops.back().second;
    if (instr.op == Op::repeat) loops.emplace_back(i + 1 + instr.attrs[2], trips * instr.attrs[0]);
    else flops += trips * executable_->flops[i];
    steps.push_back({instr.op, instr.name, executable_->flops[i], instr.op == Op::repeat ? 0 : moved_bytes(program, instr)});
  }
  commit = program.commit;
  arena_bytes = program.arena_bytes;
  constant_bytes = program.constants.size();
  if (constant_bytes) {
    constants_ = Memory(backend, constant_bytes, "the program's constants", false);
    backend->upload(constants_.data(), program.constants.data(), constant_bytes);
  }
  buffers = std::move(program.buffers);
  names = std::move(program.names);
  base.resize(buffers.size());
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    const Buffer& b = buffers[i];
    switch (b.kind) {
      case BufferKind::constant: base[i] = constants_.data() + b.offset; break;
      case BufferKind::feed:
      case BufferKind::fetch:
        owned_.emplace_back(backend, b.bytes, (b.kind == BufferKind::feed ? "the feed " : "the fetch ") + b.name, true);
        base[i] = owned_.back().data();
        (b.kind == BufferKind::feed ? feeds : fetches).push_back(i);
        break;
      case BufferKind::state: states.push_back(i); break;
      case BufferKind::arena: break;
    }
  }
}

void Loaded::run(const Workspace& workspace, const std::atomic<uint32_t>& cancel, Progress& progress, std::mutex& commit_lock) {
  for (uint32_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].kind == BufferKind::arena) base[i] = workspace.arena.data() + buffers[i].offset;
  for (size_t k = 0; k < states.size(); ++k) base[states[k]] = bound[k]->data.data();
  progress.done.store(0, std::memory_order_relaxed);
  progress.total.store(total_steps, std::memory_order_relaxed);
  progress.commit.store(0, std::memory_order_relaxed);
  progress.serial.fetch_add(1, std::memory_order_release);
  const Invocation call{base, workspace.scratch.data(), cancel, progress, profile, watch};
  executable_->propose(call);
  // A kernel may have returned early because of the cancellation: what it left must not be committed.
  if (cancel.load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
  const std::lock_guard<std::mutex> hold(commit_lock);
  progress.commit.store(1, std::memory_order_relaxed);
  executable_->commit(call);
}

}  // namespace cf
