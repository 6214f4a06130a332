#include "cpu/executable.h"

#include <algorithm>
#include <array>
#include <new>

#include "cpu/device.h"
#include "cpu/finite.h"
#include "program/decode.h"

namespace cf::cpu {
namespace {

struct Step {
  Op op;
  uint32_t name;
  uint32_t count = 0, level = 0, body = 0;  ///< repeat only
  bool reversed = false;                    ///< repeat only
  std::unique_ptr<Kernel> kernel;           ///< null for repeat
  std::vector<Tensor> outputs;              ///< the float32 ones
};

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(const Program& program, const Device& device) : names_(program.names), commit_(program.commit), threads_(device.threads) {
    const TeamSize team(device.threads);
    watches = true;
    for (const Instr& instr : program.instrs) {
      Step step;
      step.op = instr.op, step.name = instr.name;
      if (instr.op == Op::repeat) {
        step.count = instr.attrs[0], step.level = instr.attrs[1], step.body = instr.attrs[2], step.reversed = instr.attrs[3] != 0;
      } else {
        step.kernel = make_kernel(program, instr, device);
        scratch_bytes = std::max<uint64_t>(scratch_bytes, step.kernel->scratch_bytes());
        for (uint32_t id : instr.outputs)
          if (program.tensors[id].dtype == DType::f32) step.outputs.push_back(program.tensors[id]);
      }
      flops.push_back(step.kernel ? step.kernel->flops() : 0);
      steps_.push_back(std::move(step));
    }
  }

  void propose(const Invocation& call) override {
    flush_denormals(threads_);
    done_ = 0;
    Walk(*this, call, &call.cancel).range(0, commit_);
  }
  void commit(const Invocation& call) override { Walk(*this, call, nullptr).range(commit_, static_cast<uint32_t>(steps_.size())); }

 private:
  /// Goes through the steps, repeats as nested ranges.
  class Walk {
   public:
    Walk(CpuExecutable& e, const Invocation& call, const std::atomic<uint32_t>* cancel)
        : e_(e), call_(call), cancel_(cancel), run_(call.base.data(), loops_.data(), call.scratch, cancel) {}

    void range(uint32_t begin, uint32_t end) {
      for (uint32_t i = begin; i < end; ++i) {
        const Step& step = e_.steps_[i];
        if (step.op == Op::repeat) {
          const uint32_t outside = depth_;
          depth_ = step.level + 1;
          for (uint32_t t = 0; t < step.count; ++t) {
            loops_[step.level] = step.reversed ? step.count - 1 - t : t;
            range(i + 1, i + 1 + step.body);
          }
          loops_[step.level] = 0;
          depth_ = outside;
          i += step.body;
          continue;
        }
        if (cancel_ && cancel_->load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
        execute(i, step);
        if (call_.watch.on()) look(i, step);
        call_.progress.done.store(++e_.done_, std::memory_order_relaxed);
      }
    }

   private:
    void execute(uint32_t i, const Step& step) {
      try {
        if (!call_.profile.on()) return step.kernel->run(run_);
        const uint64_t begin = call_.profile.now();
        step.kernel->run(run_);
        call_.profile.note(i, begin, call_.profile.now() - begin);
      } catch (const std::bad_alloc&) {
        throw Error(Code::out_of_memory, op_name(step.op), where(i, step) + "not enough memory");
      } catch (const Error& e) {
        throw Error(e.code(), op_name(step.op), where(i, step) + e.what());
      } catch (const std::exception& e) {
        throw Error(Code::internal, op_name(step.op), where(i, step) + e.what());
      }
    }

    void look(uint32_t i, const Step& step) const {
      for (const Tensor& t : step.outputs) {
        if (const auto value = first_not_finite(run_.f32(t), t)) {
          Watch::Found found{i, {}, *value};
          for (uint32_t level = 0; level < depth_; ++level) found.loops.push_back(run_.loop(level));
          return call_.watch.note(std::move(found));
        }
      }
    }

    std::string where(uint32_t i, const Step& step) const { return "instruction " + std::to_string(i) + " (" + e_.names_[step.name] + "): "; }

    CpuExecutable& e_;
    const Invocation& call_;
    const std::atomic<uint32_t>* const cancel_;
    std::array<uint64_t, kMaxLoops> loops_{};
    uint32_t depth_ = 0;  ///< open repeats
    const cpu::Run run_;
  };

  std::vector<Step> steps_;
  const std::vector<std::string> names_;
  const uint32_t commit_;
  const int threads_;
  uint64_t done_ = 0;
};

}  // namespace

std::unique_ptr<Executable> make_executable(const Program& program, const Device& device) { return std::make_unique<CpuExecutable>(program, device); }

}  // namespace cf::cpu
