#include "abi/handles.h"

namespace cf::abi {
namespace {

[[noreturn]] void unknown(uint64_t id, const char* kind, const char* op) {
  throw Error(Code::invalid_argument, op, std::to_string(id) + " is not the handle of an open " + kind);
}

}  // namespace

Handles& Handles::instance() {
  // Never destroyed: a process may end with a run pending, whose thread must still find everything in place.
  static Handles* handles = new Handles;
  return *handles;
}

uint64_t Handles::add(std::shared_ptr<Context> context) {
  const std::lock_guard<std::mutex> hold(mutex_);
  contexts_.emplace(next_, std::move(context));
  return next_++;
}

uint64_t Handles::add(uint64_t context, std::shared_ptr<Loaded> program) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = contexts_.find(context);
  if (found == contexts_.end()) unknown(context, "context", "cf_program_load");
  programs_.emplace(next_, ProgramEntry{context, found->second, std::move(program)});
  return next_++;
}

std::shared_ptr<Context> Handles::context(uint64_t id, const char* op) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = contexts_.find(id);
  if (found == contexts_.end()) unknown(id, "context", op);
  return found->second;
}

ProgramEntry Handles::program(uint64_t id, const char* op) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = programs_.find(id);
  if (found == programs_.end()) unknown(id, "program", op);
  return found->second;
}

std::shared_ptr<Context> Handles::take_context(uint64_t id, const char* op) {
  // Programs are freed after the lock is released: that may take a while.
  std::vector<ProgramEntry> dropped;
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = contexts_.find(id);
  if (found == contexts_.end()) unknown(id, "context", op);
  std::shared_ptr<Context> context = std::move(found->second);
  contexts_.erase(found);
  for (auto it = programs_.begin(); it != programs_.end();) {
    if (it->second.context_id == id) {
      dropped.push_back(std::move(it->second));
      it = programs_.erase(it);
    } else {
      ++it;
    }
  }
  return context;
}

ProgramEntry Handles::take_program(uint64_t id, const char* op) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = programs_.find(id);
  if (found == programs_.end()) unknown(id, "program", op);
  ProgramEntry entry = std::move(found->second);
  programs_.erase(found);
  return entry;
}

}  // namespace cf::abi
