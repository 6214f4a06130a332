// Handles of the C ABI: numbers that are looked up, so that a stale one is an error and not a crash.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "common/error.h"
#include "executor/context.h"

namespace cf::abi {

struct ProgramEntry {
  uint64_t context_id;
  std::shared_ptr<Context> context;
  std::shared_ptr<Loaded> program;
};

class Handles {
 public:
  static Handles& instance();

  uint64_t add(std::shared_ptr<Context> context);
  /// Throws Error{invalid_argument} when the context is gone by now.
  uint64_t add(uint64_t context, std::shared_ptr<Loaded> program);
  /// Each throws Error{invalid_argument} for what is not a live handle of its kind. `op` is the ABI function that asks.
  std::shared_ptr<Context> context(uint64_t id, const char* op);
  ProgramEntry program(uint64_t id, const char* op);
  /// The entry, and nobody can find it any more. A context takes the handles of its programs with it.
  std::shared_ptr<Context> take_context(uint64_t id, const char* op);
  ProgramEntry take_program(uint64_t id, const char* op);

 private:
  std::mutex mutex_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Context>> contexts_;
  std::unordered_map<uint64_t, ProgramEntry> programs_;
};

}  // namespace cf::abi
