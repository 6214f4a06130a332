#include "executor/backend.h"

#include <utility>

namespace cf {

void Profile::start(size_t instrs) {
  stats.assign(instrs, {});
  events.clear();
  events.reserve(kMaxEvents);
  begin_ = std::chrono::steady_clock::now();
  on_ = true;
}

uint64_t Profile::now() const {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin_).count());
}

void Profile::note(uint32_t instr, uint64_t begin, uint64_t nanoseconds) {
  ++stats[instr].calls;
  stats[instr].nanoseconds += nanoseconds;
  if (events.size() < kMaxEvents) events.push_back({instr, begin, nanoseconds});
}

Memory::Memory(std::shared_ptr<Backend> backend, uint64_t bytes, const std::string& what, bool zero) {
  if (bytes == 0) return;
  bytes = (bytes + 63) / 64 * 64;
  data_ = backend->allocate(bytes, what);
  backend_ = std::move(backend), bytes_ = bytes;
  if (zero) backend_->zero(data_, bytes);
}

void Memory::swap(Memory& other) noexcept {
  std::swap(backend_, other.backend_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
}

Memory::~Memory() {
  if (data_) backend_->release(data_);
}

}  // namespace cf
