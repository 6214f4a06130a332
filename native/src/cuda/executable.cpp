#include "cuda/executable.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "coopflow.h"
#include "cuda/check/check.h"

namespace cf::cuda {
namespace {

/// Launches of one graph at most: between graphs a run can be cancelled.
constexpr uint32_t kSegment = 256;
/// Graphs that the host may be ahead of the device: enough to keep it busy, few enough that a cancellation is felt.
constexpr uint32_t kAhead = 4;

/// A Node with its graphs: launches as segments, or a loop.
struct Part {
  const Node* node;
  struct Segment {
    uint32_t begin, end;
    uint32_t instrs;  ///< of the program, for progress
    std::unique_ptr<Graph> graph;
  };
  std::vector<Segment> segments;
  std::vector<Part> body;
};

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(const Program& program, std::shared_ptr<Machine> machine, bool checked)
      : machine_(std::move(machine)), list_(lower(program, machine_->target())), prepared_(machine_->prepare(list_)) {
    scratch_bytes = std::max(list_.scratch_bytes, prepared_->scratch_bytes);
    if (checked) check(list_, program);
    for (const Instr& instr : program.instrs) flops.push_back(cf::cuda::flops(program, instr));
    before_ = parts(list_.before_commit), commit_ = parts(list_.commit);
    loops_ = machine_->allocate(kMaxLoops * sizeof(uint32_t), "loop counters");
  }
  ~CudaExecutable() override { machine_->release(loops_); }

  void propose(const Invocation& call) override {
    done_ = 0;
    bind(call);
    // What an earlier run left on the stream after an error is over before this one begins.
    machine_->wait(0);
    walk(before_, call, &call.cancel);
    machine_->wait(0);
  }
  void commit(const Invocation& call) override {
    walk(commit_, call, nullptr);
    machine_->wait(0);
  }

 private:
  std::vector<Part> parts(const std::vector<Node>& nodes) const {
    std::vector<Part> out;
    for (const Node& node : nodes) {
      Part p;
      p.node = &node;
      p.body = parts(node.body);
      for (uint32_t at = node.begin; at < node.end; at += kSegment) {
        const uint32_t end = std::min(node.end, at + kSegment);
        uint32_t instrs = 0;
        for (uint32_t i = at; i < end; ++i) instrs += i == 0 || list_.launches[i].instr != list_.launches[i - 1].instr;
        p.segments.push_back({at, end, instrs, nullptr});
      }
      out.push_back(std::move(p));
    }
    return out;
  }

  /// Graphs hold addresses: they are made again when any of them has changed.
  void bind(const Invocation& call) {
    if (bound_ && binding_.buffers == call.base && binding_.scratch == call.scratch) return;
    bound_ = false;
    binding_ = {call.base, call.scratch, loops_};
    capture(before_);
    capture(commit_);
    bound_ = true;
  }

  void capture(std::vector<Part>& parts) {
    for (Part& p : parts) {
      for (Part::Segment& s : p.segments) s.graph.reset(), s.graph = machine_->capture(list_, *prepared_, binding_, s.begin, s.end);
      capture(p.body);
    }
  }

  void walk(const std::vector<Part>& parts, const Invocation& call, const std::atomic<uint32_t>* cancel) {
    for (const Part& p : parts) {
      for (const Part::Segment& s : p.segments) {
        if (cancel && cancel->load(std::memory_order_relaxed)) throw Error(Code::cancelled, "run", "the run was cancelled");
        if (call.profile.on()) profile(s, call.profile);
        else machine_->launch(*s.graph), machine_->wait(kAhead);
        done_ += s.instrs;
        call.progress.done.store(done_, std::memory_order_relaxed);
      }
      for (uint32_t t = 0; t < p.node->count; ++t) {
        machine_->set_loop(binding_, p.node->level, p.node->reversed ? p.node->count - 1 - t : t);
        walk(p.body, call, cancel);
      }
    }
  }

  void profile(const Part::Segment& s, Profile& profile) {
    machine_->wait(0);
    uint64_t at = profile.now();
    const std::vector<double> seconds = machine_->time(list_, *prepared_, binding_, s.begin, s.end);
    for (uint32_t i = s.begin; i < s.end;) {
      const uint32_t instr = list_.launches[i].instr;
      double sum = 0;
      for (; i < s.end && list_.launches[i].instr == instr; ++i) sum += seconds[i - s.begin];
      const auto took = static_cast<uint64_t>(1e9 * sum);
      profile.note(instr, at, took);
      at += took;
    }
  }

  const std::shared_ptr<Machine> machine_;
  const LaunchList list_;
  const std::unique_ptr<Prepared> prepared_;
  std::vector<Part> before_, commit_;
  char* loops_ = nullptr;
  Binding binding_;
  bool bound_ = false;
  uint64_t done_ = 0;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<Machine> machine, std::string device, uint32_t flags, bool checked)
      : machine_(std::move(machine)),
        device_(std::move(device)),
        exact_(machine_->target().precision == Precision::float32),
        winograd_(exact_ && !(flags & CF_NO_WINOGRAD)),
        checked_(checked) {}

  Info info() const override { return {device_, machine_->describe(), 0, "cuda", winograd_, peak_, machine_->free_memory()}; }
  char* allocate(uint64_t bytes, const std::string& what) override {
    char* const p = machine_->allocate(bytes, what);
    const std::lock_guard<std::mutex> hold(mutex_);
    sizes_[p] = bytes, held_ += bytes;
    peak_ = std::max<uint64_t>(peak_, held_);
    return p;
  }
  void release(char* p) noexcept override {
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      const auto found = sizes_.find(p);
      held_ -= found->second;
      sizes_.erase(found);
    }
    machine_->release(p);
  }
  void zero(char* p, uint64_t bytes) override { machine_->zero(p, bytes); }
  void upload(char* to, const void* from, uint64_t bytes) override { machine_->upload(to, from, bytes); }
  void download(void* to, const char* from, uint64_t bytes) override { machine_->download(to, from, bytes); }
  std::unique_ptr<Executable> prepare(const Program& program) override {
    if (!winograd_) refuse_winograd(program);
    return std::make_unique<CudaExecutable>(program, machine_, checked_);
  }

 private:
  void refuse_winograd(const Program& program) const {
    for (const Instr& instr : program.instrs)
      if (instr.op == Op::winograd_weights)
        throw Error(Code::unsupported, "winograd_weights",
                    std::string("the context was made ") + (exact_ ? "without Winograd's algorithm" : "to compute in less than float32, for which direct convolutions are meant") +
                        ", but the program asks for Winograd's: compile it without");
  }

  const std::shared_ptr<Machine> machine_;
  const std::string device_;
  const bool exact_, winograd_, checked_;
  std::mutex mutex_;
  std::unordered_map<char*, uint64_t> sizes_;
  uint64_t held_ = 0;
  std::atomic<uint64_t> peak_{0};
};

}  // namespace

std::shared_ptr<Backend> make_backend(std::shared_ptr<Machine> machine, const std::string& device, uint32_t flags, bool checked) {
  return std::make_shared<CudaBackend>(std::move(machine), device, flags, checked);
}

Precision precision_of(uint32_t flags) { return flags & CF_BF16 ? Precision::bf16 : flags & CF_TF32 ? Precision::tf32 : Precision::float32; }

}  // namespace cf::cuda
