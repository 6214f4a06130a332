#include "cpu/memory.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "common/error.h"

namespace cf::cpu {
namespace {

constexpr uint64_t kHugePage = 2u << 20;

uint64_t physical_bytes() {
#if defined(_SC_PHYS_PAGES)
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages > 0 && size > 0) return static_cast<uint64_t>(pages) * static_cast<uint64_t>(size);
#endif
  return UINT64_MAX;
}

}  // namespace

Memory::Memory(uint64_t bytes, const std::string& what, bool zero) {
  if (bytes == 0) return;
  const bool large = bytes >= 2 * kHugePage;
  const uint64_t align = large ? kHugePage : 64;
  const uint64_t rounded = (bytes + 63) / 64 * 64;
  void* p = nullptr;
  // The kernel hands out more than there is and kills the process when it is touched: refuse that here, where there is someone to tell.
  if (bytes <= physical_bytes() && posix_memalign(&p, align, rounded) != 0) p = nullptr;
  if (!p) throw Error(Code::out_of_memory, "memory", "not enough memory for " + what + ": " + std::to_string(bytes) + " bytes were asked for");
#if defined(MADV_HUGEPAGE)
  if (large) madvise(p, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  if (zero) std::memset(p, 0, rounded);
  data_ = static_cast<char*>(p);
  bytes_ = rounded;
}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Memory::~Memory() { std::free(data_); }

void trim_heap() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace cf::cpu
