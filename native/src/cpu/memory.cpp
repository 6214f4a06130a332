#include "cpu/memory.h"

#include <cstdlib>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
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

char* allocate(uint64_t bytes, const std::string& what) {
  const bool large = bytes >= 2 * kHugePage;
  const uint64_t align = large ? kHugePage : 64;
  void* p = nullptr;
  // The kernel hands out more than there is and kills the process when it is touched: refuse that here, where there is someone to tell.
  if (bytes <= physical_bytes() && posix_memalign(&p, align, bytes) != 0) p = nullptr;
  if (!p) throw Error(Code::out_of_memory, "memory", "not enough memory for " + what + ": " + std::to_string(bytes) + " bytes were asked for");
#if defined(MADV_HUGEPAGE)
  if (large) madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return static_cast<char*>(p);
}

}  // namespace cf::cpu
