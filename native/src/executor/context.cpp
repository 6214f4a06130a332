#include "executor/context.h"

#include <algorithm>

#include "common/heap.h"
#include "program/decode.h"

namespace cf {
namespace {

[[noreturn]] void invalid(const char* op, const std::string& message) { throw Error(Code::invalid_argument, op, message); }

std::string text(const std::vector<uint32_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}
std::string text(DType dtype, const std::vector<uint32_t>& shape) { return std::string(dtype == DType::f32 ? "f32" : "u32") + text(shape); }

}  // namespace

Context::Context(std::shared_ptr<Backend> backend) : backend_(std::move(backend)), worker_([this] { work(); }) {}

std::shared_ptr<State> Context::make_state(const std::string& name, DType dtype, std::vector<uint32_t> shape, uint64_t bytes, bool zero) const {
  auto s = std::make_shared<State>();
  s->dtype = dtype;
  s->data = Memory(backend_, bytes, "the state " + name, zero);
  s->shape = std::move(shape);
  s->bytes = bytes;
  return s;
}

Context::~Context() { shutdown(); }

void Context::check_open() const {
  if (closed_) invalid("context", "the context is closed");
}

Context::Info Context::info() const {
  const std::lock_guard<std::mutex> hold(mutex_);
  Info i{workspace_->arena.bytes(), workspace_->scratch.bytes(), 0, programs_, refused_bytes_};
  for (const auto& [name, s] : states_) i.state_bytes += s->bytes;
  return i;
}

void Context::set_state(const std::string& name, DType dtype, std::vector<uint32_t> shape, const void* data, uint64_t bytes) {
  const char* op = "cf_state_set";
  if (name.empty()) invalid(op, "a state needs a name");
  unsigned __int128 expected = 4;
  for (uint32_t d : shape) {
    expected *= d;
    if (d == 0 || expected > kMaxBytes) invalid(op, "the state " + name + " has the bad shape " + text(shape));
  }
  if (bytes != expected)
    invalid(op, "the state " + name + ": expected " + std::to_string(static_cast<uint64_t>(expected)) + " bytes for " + text(dtype, shape) + ", found " + std::to_string(bytes));
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  if (current_ || !queue_.empty()) invalid(op, "a run is in progress: wait for it or cancel it before setting the state " + name);
  const auto found = states_.find(name);
  std::shared_ptr<State> s = found == states_.end() ? nullptr : found->second;
  if (!s || s->dtype != dtype || s->shape != shape) {
    if (s && s->users)
      invalid(op, "the state " + name + " is " + text(s->dtype, s->shape) + " and a loaded program uses it: it cannot become " + text(dtype, shape));
    s = make_state(name, dtype, std::move(shape), bytes, data == nullptr);
    states_[name] = s;
  } else if (!data) {
    backend_->zero(s->data.data(), bytes);
  }
  if (data) backend_->upload(s->data.data(), data, bytes);
}

void Context::get_state(const std::string& name, void* data, uint64_t bytes) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  const auto found = states_.find(name);
  if (found == states_.end()) invalid("cf_state_get", "there is no state " + name);
  const State& s = *found->second;
  if (bytes != s.bytes) invalid("cf_state_get", "the state " + name + " has " + std::to_string(s.bytes) + " bytes, found " + std::to_string(bytes));
  const std::lock_guard<std::mutex> no_commit(commit_mutex_);
  backend_->download(data, s.data.data(), bytes);
}

void Context::remove_state(const std::string& name) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  const auto found = states_.find(name);
  if (found == states_.end()) invalid("cf_state_remove", "there is no state " + name);
  if (found->second->users) invalid("cf_state_remove", "a loaded program uses the state " + name);
  states_.erase(found);
}

std::vector<Context::StateInfo> Context::list_states() const {
  const std::lock_guard<std::mutex> hold(mutex_);
  std::vector<StateInfo> out;
  for (const auto& [name, s] : states_) out.push_back({name, s->dtype, s->shape, s->bytes});
  return out;
}

void Context::bind(Loaded& p, bool create_missing) {
  std::vector<std::pair<std::string, std::shared_ptr<State>>> created;
  for (uint32_t i : p.states) {
    const Buffer& b = p.buffers[i];
    const auto found = states_.find(b.name);
    if (found != states_.end()) {
      const State& s = *found->second;
      if (s.dtype != b.dtype || s.shape != b.shape)
        throw Error(Code::invalid_argument, "cf_program_load",
                    "the state " + b.name + " is " + text(s.dtype, s.shape) + ", but the program expects " + text(b.dtype, b.shape));
      p.bound.push_back(found->second);
    } else if (create_missing) {
      created.emplace_back(b.name, make_state(b.name, b.dtype, b.shape, b.bytes, true));
      p.bound.push_back(created.back().second);
    } else {
      throw Error(Code::invalid_argument, "cf_program_load",
                  "the program needs the state " + b.name + " " + text(b.dtype, b.shape) +
                      ", which the context lacks: set it with cf_state_set, or load with CF_CREATE_MISSING_STATE to begin with zeros");
    }
  }
  for (auto& [name, s] : created) states_.emplace(name, s);
}

void Context::grow(uint64_t arena, uint64_t scratch) {
  arena = std::max<uint64_t>(arena, workspace_->arena.bytes());
  scratch = std::max<uint64_t>(scratch, workspace_->scratch.bytes());
  if (arena == workspace_->arena.bytes() && scratch == workspace_->scratch.bytes()) return;
  auto next = std::make_shared<Workspace>();
  // While a run holds the old workspace both have to fit; when idle, what is replaced goes first.
  if (!current_ && arena == workspace_->arena.bytes()) next->arena = std::move(workspace_->arena);
  if (!current_ && scratch == workspace_->scratch.bytes()) next->scratch = std::move(workspace_->scratch);
  if (!current_) workspace_ = std::make_shared<Workspace>();
  if (next->arena.bytes() < arena) next->arena = Memory(backend_, arena, "the arena of temporaries", false);
  if (next->scratch.bytes() < scratch) next->scratch = Memory(backend_, scratch, "kernels' scratch", false);
  workspace_ = next;
}

std::shared_ptr<Loaded> Context::load(Program program, bool create_missing) {
  const MemoryNeeds needs(program);
  std::shared_ptr<Loaded> p;
  try {
    p = std::make_shared<Loaded>(std::move(program), backend_);
    place(p, create_missing);
  } catch (const Error& e) {
    if (e.code() != Code::out_of_memory) throw;
    const uint64_t scratch = p ? p->scratch_bytes : 0;
    p.reset();
    refused_bytes_ = needs.bytes(scratch);
    throw Error(e.code(), e.op(), std::string(e.what()) + ". " + needs.text(scratch, info().state_bytes));
  }
  return p;
}

void Context::place(const std::shared_ptr<Loaded>& p, bool create_missing) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  // What the caller freed on the way here (first values, the compiler's buffers) would otherwise stay beneath the arena for good.
  trim_heap();
  grow(p->arena_bytes, p->scratch_bytes);
  bind(*p, create_missing);
  for (const auto& s : p->bound) ++s->users;
  ++programs_;
}

void Context::unload(const std::shared_ptr<Loaded>& program) {
  std::unique_lock<std::mutex> hold(mutex_);
  if (current_ && current_->program == program) current_->cancel = 1;
  for (const auto& job : queue_)
    if (job->program == program) job->cancel = 1;
  finished_.wait(hold, [&] { return program->pending == 0; });
  for (const auto& s : program->bound) --s->users;
  if (--programs_ == 0 && !current_) workspace_ = std::make_shared<Workspace>();
}

void Context::feed(Loaded& p, uint32_t index, const void* data, uint64_t bytes) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  if (index >= p.feeds.size()) invalid("cf_program_feed", "there is no feed " + std::to_string(index) + ": the program has " + std::to_string(p.feeds.size()));
  const Buffer& b = p.buffers[p.feeds[index]];
  if (bytes != b.bytes) invalid("cf_program_feed", "the feed " + b.name + " takes " + std::to_string(b.bytes) + " bytes, found " + std::to_string(bytes));
  if (p.pending) invalid("cf_program_feed", "the program is running: wait for it before feeding " + b.name);
  backend_->upload(p.base[p.feeds[index]], data, bytes);
}

void Context::fetch(Loaded& p, uint32_t index, void* data, uint64_t bytes) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  if (index >= p.fetches.size()) invalid("cf_program_fetch", "there is no fetch " + std::to_string(index) + ": the program has " + std::to_string(p.fetches.size()));
  const Buffer& b = p.buffers[p.fetches[index]];
  if (bytes != b.bytes) invalid("cf_program_fetch", "the fetch " + b.name + " has " + std::to_string(b.bytes) + " bytes, found " + std::to_string(bytes));
  if (p.pending) invalid("cf_program_fetch", "the program is running: wait for it before fetching " + b.name);
  backend_->download(data, p.base[p.fetches[index]], bytes);
}

void Context::when_idle(const Loaded& p, const char* op, const std::function<void()>& f) {
  const std::lock_guard<std::mutex> hold(mutex_);
  check_open();
  if (p.pending) invalid(op, "the program is running: wait for it");
  f();
}

void Context::run(const std::shared_ptr<Loaded>& program) {
  auto job = std::make_shared<Job>();
  job->program = program;
  std::unique_lock<std::mutex> hold(mutex_);
  check_open();
  ++program->pending;
  queue_.push_back(job);
  wake_.notify_one();
  finished_.wait(hold, [&] { return job->done; });
  hold.unlock();
  if (job->error) std::rethrow_exception(job->error);
}

void Context::cancel() {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (current_) current_->cancel = 1;
  for (const auto& job : queue_) job->cancel = 1;
}

void Context::shutdown() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    closed_ = true;
    if (current_) current_->cancel = 1;
    for (const auto& job : queue_) job->cancel = 1;
    wake_.notify_one();
  }
  std::call_once(joined_, [this] { worker_.join(); });
}

void Context::work() {
  std::unique_lock<std::mutex> hold(mutex_);
  for (;;) {
    wake_.wait(hold, [&] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const std::shared_ptr<Job> job = queue_.front();
    queue_.pop_front();
    std::shared_ptr<Workspace> workspace;
    try {
      // Only does something after a load that ran out of memory while it replaced the workspace.
      grow(job->program->arena_bytes, job->program->scratch_bytes);
      workspace = workspace_;
    } catch (...) {
      job->error = std::current_exception();
    }
    current_ = job;
    hold.unlock();
    if (!job->error) try {
      if (job->cancel) throw Error(Code::cancelled, "run", "the run was cancelled before it began");
      job->program->run(*workspace, job->cancel, progress_, commit_mutex_);
    } catch (...) {
      job->error = std::current_exception();
    }
    hold.lock();
    workspace.reset();
    current_.reset();
    --job->program->pending;
    job->done = true;
    finished_.notify_all();
  }
}

}  // namespace cf
