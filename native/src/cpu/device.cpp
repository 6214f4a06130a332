#include "cpu/device.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "cpu/ops/parallel.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(CF_X86)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace cf::cpu {
namespace {

// Best first. Not AMX: on a shared machine it falls behind the vectors for seconds at a time (native/README.md).
constexpr Isa kIsas[] = {Isa::avx512, Isa::amx, Isa::avx2, Isa::portable};

#if defined(CF_X86)
/// AMX with bfloat16, and the system's leave to use its registers, which Linux gives a process that asks.
bool has_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kBf16 | kTiles)) != (kBf16 | kTiles)) return false;
  constexpr long kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
#else
  return false;
#endif
}
#endif

bool supported(Isa isa) {
  if (isa == Isa::portable) return true;
#if defined(CF_X86)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (isa == Isa::avx2) return v3;
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return isa == Isa::avx512 ? v4 : v4 && has_tiles();
#else
  return false;
#endif
}

#if defined(__linux__)
long read_number(const std::string& path) {
  long v = -1;
  std::ifstream(path) >> v;
  return v;
}

/// CPUs' worth of time that a container may use; 0 = no limit.
int quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string limit;
  double period = 0;
  if (v2 >> limit >> period && limit != "max" && period > 0) return std::max(1, static_cast<int>(std::ceil(std::atof(limit.c_str()) / period)));
  const long q = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  return q > 0 && p > 0 ? static_cast<int>((q + p - 1) / p) : 0;
}
#endif

size_t cache_bytes(int name, size_t otherwise) {
#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
  const long v = sysconf(name);
  if (v > 0) return static_cast<size_t>(v);
#endif
  (void)name;
  return otherwise;
}

}  // namespace

std::vector<Isa> available_isas() {
  std::vector<Isa> out;
  for (Isa isa : kIsas)
    if (supported(isa)) out.push_back(isa);
  return out;
}

const char* isa_name(Isa isa) noexcept { return isa == Isa::amx ? "amx" : isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "portable"; }

int physical_cores() {
  int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::pair<long, long>> seen;
    int cpus = 0;
    for (int c = 0; c < CPU_SETSIZE; ++c) {
      if (!CPU_ISSET(c, &set)) continue;
      ++cpus;
      const std::string at = "/sys/devices/system/cpu/cpu" + std::to_string(c) + "/topology/";
      const long package = read_number(at + "physical_package_id"), core = read_number(at + "core_id");
      seen.emplace(package, core < 0 ? c : core);
    }
    cores = std::max(1, seen.empty() ? cpus : static_cast<int>(seen.size()));
  }
  if (const int q = quota()) cores = std::min(cores, q);
#endif
  return cores;
}

Device make_device(int threads, int isa, bool winograd) {
  if (threads < 0 || threads > kMaxThreads)
    throw Error(Code::invalid_argument, "cf_context_create", "expected 0 to " + std::to_string(kMaxThreads) + " threads, found " + std::to_string(threads));
  const std::vector<Isa> have = available_isas();
  Device d;
  d.threads = threads ? threads : std::min(physical_cores(), kMaxThreads);
  d.isa = have.front();
  d.winograd = winograd;
#if defined(__linux__) && defined(_SC_LEVEL2_CACHE_SIZE)
  d.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, d.l2_bytes);
#endif
  std::string wanted;
  const char* env = std::getenv("COOPFLOW_ISA");
  if (isa == -1 && env && *env) wanted = env;
  else if (isa >= 0 && isa <= 3) wanted = isa_name(static_cast<Isa>(isa));
  else if (isa != -1) throw Error(Code::invalid_argument, "cf_context_create", "expected an instruction set from -1 to 3, found " + std::to_string(isa));
  if (wanted.empty()) return d;
  std::string names;
  for (Isa h : have) {
    if (wanted == isa_name(h)) return d.isa = h, d;
    names += (names.empty() ? "" : ", ") + std::string(isa_name(h));
  }
  const bool known = std::any_of(std::begin(kIsas), std::end(kIsas), [&](Isa i) { return wanted == isa_name(i); });
  throw Error(known ? Code::unsupported : Code::invalid_argument, "cf_context_create",
              "the instruction set " + wanted + (known ? " is not available" : " is unknown") + ": this machine has " + names);
}

void flush_denormals() noexcept {
#if defined(CF_X86)
  _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  uint64_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  asm volatile("msr fpcr, %0" : : "r"(fpcr | (1ull << 24)));
#endif
}

}  // namespace cf::cpu
