#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>

#include "cpu/device.h"
#include "cpu/executor.h"
#include "program/decode.h"

namespace cf::cpu {

/// One run: walks the steps, repeats as nested ranges.
class Execution {
 public:
  Execution(Loaded& program, char* scratch, const std::atomic<uint32_t>& cancel, Progress& progress)
      : p_(program), progress_(progress), cancel_(cancel), before_commit_(p_.base.data(), loops_.data(), scratch, &cancel),
        in_commit_(p_.base.data(), loops_.data(), scratch, nullptr) {}

  void proposal() { range(0, p_.commit, before_commit_, &cancel_); }
  void commit() { range(p_.commit, static_cast<uint32_t>(p_.steps.size()), in_commit_, nullptr); }

 private:
  void range(uint32_t begin, uint32_t end, const Run& run, const std::atomic<uint32_t>* cancel) {
    for (uint32_t i = begin; i < end; ++i) {
      const Loaded::Step& step = p_.steps[i];
      if (step.op == Op::repeat) {
        for (uint32_t t = 0; t < step.count; ++t) {
          loops_[step.level] = step.reversed ? step.count - 1 - t : t;
          range(i + 1, i + 1 + step.body, run, cancel);
        }
        loops_[step.level] = 0;
        i += step.body;
        continue;
      }
      if (cancel && cancel->load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
      execute(i, step, run);
      progress_.done.store(++done_, std::memory_order_relaxed);
    }
  }

  void execute(uint32_t i, const Loaded::Step& step, const Run& run) {
    try {
      if (!p_.profiling_) return step.kernel->run(run);
      const uint64_t begin = nanoseconds();
      step.kernel->run(run);
      const uint64_t took = nanoseconds() - begin;
      ++p_.stats[i].calls;
      p_.stats[i].nanoseconds += took;
      if (p_.events.size() < Loaded::kMaxEvents) p_.events.push_back({i, begin, took});
    } catch (const std::bad_alloc&) {
      throw Error(Code::out_of_memory, op_name(step.op), where(i, step) + "not enough memory");
    } catch (const Error& e) {
      throw Error(e.code(), op_name(step.op), where(i, step) + e.what());
    } catch (const std::exception& e) {
      throw Error(Code::internal, op_name(step.op), where(i, step) + e.what());
    }
  }

  /// Since profiling began.
  uint64_t nanoseconds() const {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - p_.profile_begin_).count());
  }

  std::string where(uint32_t i, const Loaded::Step& step) const { return "instruction " + std::to_string(i) + " (" + p_.names[step.name] + "): "; }

  Loaded& p_;
  Progress& progress_;
  const std::atomic<uint32_t>& cancel_;
  std::array<uint64_t, kMaxLoops> loops_{};
  uint64_t done_ = 0;
  const Run before_commit_, in_commit_;
};

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

Loaded::Loaded(Program program, const Device& device) : stats(program.instrs.size()) {
  total_steps = count_steps(program);
  const TeamSize team(device.threads);
  std::vector<std::pair<uint32_t, double>> loops;  // end, trips
  for (uint32_t i = 0; i < program.instrs.size(); ++i) {
    while (!loops.empty() && loops.back().first == i) loops.pop_back();
    const Instr& instr = program.instrs[i];
    Step step;
    step.op = instr.op, step.name = instr.name;
    const double trips = loops.empty() ? 1 : loops.back().second;
    if (instr.op == Op::repeat) {
      step.count = instr.attrs[0], step.level = instr.attrs[1], step.body = instr.attrs[2], step.reversed = instr.attrs[3] != 0;
      loops.emplace_back(i + 1 + step.body, trips * step.count);
    } else {
      step.kernel = make_kernel(program, instr, device);
      scratch_bytes = std::max<uint64_t>(scratch_bytes, step.kernel->scratch_bytes());
      step.bytes = moved_bytes(program, instr);
      flops += trips * step.kernel->flops();
    }
    steps.push_back(std::move(step));
  }
  commit = program.commit;
  arena_bytes = program.arena_bytes;
  constant_bytes = program.constants.size();
  if (constant_bytes) {
    constants_ = Memory(constant_bytes, "the program's constants", false);
    std::memcpy(constants_.data(), program.constants.data(), constant_bytes);
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
        owned_.emplace_back(b.bytes, (b.kind == BufferKind::feed ? "the feed " : "the fetch ") + b.name, true);
        base[i] = owned_.back().data();
        (b.kind == BufferKind::feed ? feeds : fetches).push_back(i);
        break;
      case BufferKind::state: states.push_back(i); break;
      case BufferKind::arena: break;
    }
  }
}

void Loaded::profile(bool enable) {
  if (enable) {
    stats.assign(steps.size(), {});
    events.clear();
    events.reserve(kMaxEvents);  // a run allocates nothing
    profile_begin_ = std::chrono::steady_clock::now();
  }
  profiling_ = enable;
}

void Loaded::run(const Device& device, const Workspace& workspace, const std::atomic<uint32_t>& cancel, Progress& progress, std::mutex& commit_lock) {
  for (uint32_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].kind == BufferKind::arena) base[i] = workspace.arena.data() + buffers[i].offset;
  for (size_t k = 0; k < states.size(); ++k) base[states[k]] = bound[k]->data.data();
  progress.done.store(0, std::memory_order_relaxed);
  progress.total.store(total_steps, std::memory_order_relaxed);
  progress.commit.store(0, std::memory_order_relaxed);
  progress.serial.fetch_add(1, std::memory_order_release);
  flush_denormals(device.threads);
  Execution execution(*this, workspace.scratch.data(), cancel, progress);
  execution.proposal();
  // A kernel may have returned early because of the cancellation: what it left must not be committed.
  if (cancel.load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
  const std::lock_guard<std::mutex> hold(commit_lock);
  progress.commit.store(1, std::memory_order_relaxed);
  execution.commit();
}

}  // namespace cf::cpu
