#include "cpu/executable.h"

#include <algorithm>
#include <array>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "cpu/device.h"
#include "cpu/finite.h"
#include "cpu/ops/parallel.h"
#include "cpu/turns.h"
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
  CpuExecutable(const Program& program, const Device& device)
      : names_(program.names), commit_(program.commit), threads_(device.threads), ended_(program.instrs.size()) {
    watches = true;
    std::vector<Price> prices;
    for (const Instr& instr : program.instrs) {
      Step step;
      step.op = instr.op, step.name = instr.name;
      if (instr.op == Op::repeat) {
        step.count = instr.attrs[0], step.level = instr.attrs[1], step.body = instr.attrs[2], step.reversed = instr.attrs[3] != 0;
      } else {
        step.kernel = make_kernel(program, instr, device);
        shared_scratch_ = std::max(shared_scratch_, step.kernel->scratch_bytes());
        own_scratch_ = std::max(own_scratch_, step.kernel->own_bytes());
        for (uint32_t id : instr.outputs)
          if (program.tensors[id].dtype == DType::f32) step.outputs.push_back(program.tensors[id]);
      }
      flops.push_back(step.kernel ? step.kernel->flops() : 0);
      prices.push_back(step.kernel ? step.kernel->price() : Price{});
      steps_.push_back(std::move(step));
    }
    turns_ = plan_turns(program, prices, device.threads);
    for (uint32_t k = 0; k < turns_.size(); ++k)
      for (uint32_t m = k; turns_[k].end > k + 1 && m < turns_[k].end; ++m)
        member_scratch_ = std::max(member_scratch_, round_up(steps_[turns_[m].instr].kernel->scratch_bytes(), 64));
    const size_t threads = static_cast<size_t>(threads_);
    own_scratch_ = round_up(own_scratch_, kPage);
    scratch_bytes = own_scratch_ * threads + std::max(shared_scratch_, member_scratch_ * threads);
  }

  void propose(const Invocation& call) override {
    const Team::Running running(threads_);
    flush_denormals();
    done_ = 0;
    Walk(*this, call, &call.cancel).range(0, commit_);
  }
  void commit(const Invocation& call) override {
    const Team::Running running(threads_);
    Walk(*this, call, nullptr).range(commit_, static_cast<uint32_t>(steps_.size()));
  }

 private:
  /// Goes through the turns, repeats as nested ranges. Who is measured or watched runs by itself, in the program's order.
  class Walk {
   public:
    Walk(CpuExecutable& e, const Invocation& call, const std::atomic<uint32_t>* cancel)
        : e_(e), call_(call), cancel_(cancel), apart_(call.profile.on() || call.watch.on()), run_(call.base.data(), loops_.data(), e.scratch(call.scratch), cancel) {}

    void range(uint32_t begin, uint32_t end) {
      for (uint32_t k = begin; k < end; ++k) {
        const uint32_t i = apart_ ? k : e_.turns_[k].instr;
        const Step& step = e_.steps_[i];
        if (step.op == Op::repeat) {
          const uint32_t outside = depth_;
          depth_ = step.level + 1;
          for (uint32_t t = 0; t < step.count; ++t) {
            loops_[step.level] = step.reversed ? step.count - 1 - t : t;
            range(k + 1, k + 1 + step.body);
          }
          loops_[step.level] = 0;
          depth_ = outside;
          k += step.body;
          continue;
        }
        if (cancel_ && cancel_->load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
        const uint32_t last = apart_ ? k : e_.turns_[k].end - 1;
        if (last > k) together(k, last + 1);
        else execute(i, step, run_);
        if (call_.watch.on()) look(i, step);
        e_.done_ += last - k + 1;
        call_.progress.done.store(e_.done_, std::memory_order_relaxed);
        k = last;
      }
    }

   private:
    /// The turns [begin, end), each by whoever comes first as soon as those before it are done.
    void together(uint32_t begin, uint32_t end) {
      const uint32_t region = ++e_.region_;
      std::atomic<uint32_t> next{begin};
      std::exception_ptr error;
      std::mutex lock;
      on_team(e_.threads_, [&](int slot) {
        ScratchMemory scratch = e_.scratch(call_.scratch);
        scratch.shared += static_cast<size_t>(slot) * e_.member_scratch_, scratch.own += static_cast<size_t>(slot) * scratch.own_step;
        const cpu::Run run(call_.base.data(), loops_.data(), scratch, cancel_, true);
        for (uint32_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < end;) {
          const Turn& turn = e_.turns_[k];
          // Those were taken before, by threads that are at them: nobody waits for somebody who waits.
          for (uint32_t before : turn.after)
            for (uint32_t spins = 0; e_.ended_[before].load(std::memory_order_acquire) != region;)
              if (++spins > 1000) std::this_thread::yield();
          try {
            execute(turn.instr, e_.steps_[turn.instr], run);
          } catch (...) {
            const std::lock_guard<std::mutex> hold(lock);
            if (!error) error = std::current_exception();
          }
          e_.ended_[k].store(region, std::memory_order_release);
        }
      });
      if (error) std::rethrow_exception(error);
    }

    void execute(uint32_t i, const Step& step, const cpu::Run& run) {
      try {
        if (!call_.profile.on()) return step.kernel->run(run);
        const uint64_t begin = call_.profile.now();
        step.kernel->run(run);
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
    const bool apart_;
    const cpu::Run run_;
  };

  static constexpr size_t kPage = 4096;
  ScratchMemory scratch(char* all) const { return {all + own_scratch_ * static_cast<size_t>(threads_), all, own_scratch_}; }

  std::vector<Step> steps_;
  const std::vector<std::string> names_;
  const uint32_t commit_;
  const int threads_;
  std::vector<Turn> turns_;
  size_t shared_scratch_ = 0, own_scratch_ = 0;  ///< of all threads together, of each
  size_t member_scratch_ = 0;                    ///< of each thread in a region of several instructions
  uint32_t region_ = 0;                       ///< counts the regions that ran
  std::vector<std::atomic<uint32_t>> ended_;  ///< per turn the last region in which it was done
  uint64_t done_ = 0;
};

}  // namespace

std::unique_ptr<Executable> make_executable(const Program& program, const Device& device) { return std::make_unique<CpuExecutable>(program, device); }

}  // namespace cf::cpu
