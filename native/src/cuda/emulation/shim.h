// Stands in for CUDA's own names when a test compiles a kernel's text for the host. Blocks run one after another; the threads of a cooperating block are
// fibers that run in turn and meet at barriers and shuffles. Strict where a GPU is undefined: a barrier that not all threads of a block reach, or a shuffle that
// not all lanes of a warp reach, is an error.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static
#define CF_KERNEL static void cf_kernel
#define CF_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(cf_emulation::dynamic_shared)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

static dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace cf_emulation {

/// Handed in by the machine: the same layout on both sides.
struct Grid {
  unsigned grid[3], block[3];
  unsigned shared_bytes, cooperates;
};

static unsigned char* dynamic_shared = nullptr;

constexpr size_t kStack = 64 * 1024;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = true;
};

struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  unsigned threads = 0, current = 0, live = 0;
  unsigned arrived = 0, generation = 0;
  struct Warp {
    unsigned lanes = 0, live = 0, arrived = 0, generation = 0, parity[32] = {};
    uint64_t slots[2][32];
  };
  std::vector<Warp> warps;
  bool progress = false, fibers_run = false;
  const char* error = nullptr;
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
};
static Block block;

inline void yield() { swapcontext(&block.fibers[block.current].context, &block.scheduler); }

inline unsigned lane() { return block.current % 32; }
inline Block::Warp& warp() { return block.warps[block.current / 32]; }

/// Notes what a kernel did wrong; a fiber goes no further.
inline void fail(const char* what) {
  block.error = what;
  if (block.fibers_run) yield();
}

inline void wait_block() {
  if (!block.fibers_run) return fail("a barrier in a kernel that does not say that it cooperates");
  if (block.live != block.threads) fail("__syncthreads() after a thread of the block had returned");
  const unsigned mine = block.generation;
  if (++block.arrived == block.threads) {
    block.arrived = 0, ++block.generation, block.progress = true;
    return;
  }
  while (block.generation == mine) yield();
}

inline void wait_warp() {
  Block::Warp& w = warp();
  if (w.live != w.lanes || w.lanes != 32) fail("a shuffle or __syncwarp() in a warp that is not whole");
  const unsigned mine = w.generation;
  if (++w.arrived == w.lanes) {
    w.arrived = 0, ++w.generation, block.progress = true;
    return;
  }
  while (w.generation == mine) yield();
}

/// Each lane leaves `value` and then sees everybody's. Two sets of slots in turn: a lane can be at most one exchange ahead.
template <class T>
const uint64_t* exchange(T value) {
  static const uint64_t nothing[32] = {};
  if (!block.fibers_run) return fail("an exchange in a kernel that does not say that it cooperates"), nothing;
  static_assert(sizeof(T) <= 8, "shuffles move up to eight bytes");
  Block::Warp& w = warp();
  const unsigned parity = w.parity[lane()] ^= 1;
  std::memcpy(&w.slots[parity][lane()], &value, sizeof(T));
  wait_warp();
  return w.slots[parity];
}
template <class T>
T slot(const uint64_t* slots, unsigned lane) {
  T v;
  std::memcpy(&v, &slots[lane & 31], sizeof(T));
  return v;
}

inline void trampoline() {
  block.body(block.argument);
  Fiber& f = block.fibers[block.current];
  f.done = true;
  --block.live, --warp().live;
  block.progress = true;
  swapcontext(&f.context, &block.scheduler);
}

inline void place_thread(unsigned t) {
  threadIdx.x = t % blockDim.x, threadIdx.y = t / blockDim.x % blockDim.y, threadIdx.z = t / blockDim.x / blockDim.y;
}

/// One block's threads to their end; returns what went wrong.
inline const char* run_fibers() {
  block.live = block.threads, block.arrived = 0, block.error = nullptr;
  block.warps.assign((block.threads + 31) / 32, {});
  if (block.fibers.size() < block.threads) block.fibers.resize(block.threads);
  for (unsigned t = 0; t < block.threads; ++t) {
    Fiber& f = block.fibers[t];
    if (!f.stack) f.stack.reset(new char[kStack]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, trampoline, 0);
    f.done = false;
    ++block.warps[t / 32].lanes, ++block.warps[t / 32].live;
  }
  while (block.live > 0 && !block.error) {
    block.progress = false;
    for (unsigned t = 0; t < block.threads && !block.error; ++t) {
      if (block.fibers[t].done) continue;
      block.current = t;
      place_thread(t);
      swapcontext(&block.scheduler, &block.fibers[t].context);
    }
    if (!block.progress && !block.error) block.error = "the threads of a block wait for each other for ever";
  }
  return block.error;
}

/// Runs a grid; returns NULL, or what the kernel did wrong.
template <class Args>
const char* run(const Grid& g, void (*kernel)(const Args), const void* args) {
  struct Call {
    void (*kernel)(const Args);
    Args args;
  } call{kernel, {}};
  std::memcpy(&call.args, args, sizeof(Args));
  gridDim = {g.grid[0], g.grid[1], g.grid[2]}, blockDim = {g.block[0], g.block[1], g.block[2]};
  block.threads = g.block[0] * g.block[1] * g.block[2];
  block.body = [](void* c) { static_cast<Call*>(c)->kernel(static_cast<Call*>(c)->args); };
  block.argument = &call;
  // Shared memory begins undefined on a GPU: here as NaN, so that reading it shows.
  std::vector<uint32_t> shared(g.shared_bytes / 4 + 8);
  dynamic_shared = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(shared.data()) + 15) / 16 * 16);
  for (unsigned z = 0; z < g.grid[2]; ++z)
    for (unsigned y = 0; y < g.grid[1]; ++y)
      for (unsigned x = 0; x < g.grid[0]; ++x) {
        blockIdx = {x, y, z};
        for (uint32_t& word : shared) word = 0x7fc0dead;
        block.fibers_run = g.cooperates != 0;
        if (g.cooperates) {
          if (const char* error = run_fibers()) return error;
          continue;
        }
        block.error = nullptr;
        for (unsigned t = 0; t < block.threads; ++t) {
          place_thread(t);
          kernel(call.args);
        }
        if (block.error) return block.error;
      }
  return nullptr;
}

}  // namespace cf_emulation

inline void __syncthreads() { cf_emulation::wait_block(); }
inline void __syncwarp(unsigned = 0xffffffffu) { cf_emulation::exchange(0); }
template <class T>
T __shfl_sync(unsigned, T value, int from) { return cf_emulation::slot<T>(cf_emulation::exchange(value), static_cast<unsigned>(from)); }
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) { return cf_emulation::slot<T>(cf_emulation::exchange(value), cf_emulation::lane() ^ static_cast<unsigned>(mask)); }
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const unsigned from = cf_emulation::lane() + delta;
  return cf_emulation::slot<T>(cf_emulation::exchange(value), from < 32 ? from : cf_emulation::lane());
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta) {
  const unsigned l = cf_emulation::lane();
  return cf_emulation::slot<T>(cf_emulation::exchange(value), l >= delta ? l - delta : l);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const uint64_t* slots = cf_emulation::exchange(predicate ? 1u : 0u);
  unsigned bits = 0;
  for (unsigned l = 0; l < 32; ++l) bits |= cf_emulation::slot<unsigned>(slots, l) << l;
  return bits;
}

inline unsigned __float_as_uint(float a) { unsigned b; std::memcpy(&b, &a, 4); return b; }
inline float __uint_as_float(unsigned b) { float a; std::memcpy(&a, &b, 4); return a; }
inline int __float_as_int(float a) { int b; std::memcpy(&b, &a, 4); return b; }
inline float __int_as_float(int b) { float a; std::memcpy(&a, &b, 4); return a; }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
template <class T>
T __ldg(const T* p) { return *p; }
inline unsigned atomicOr(unsigned* p, unsigned v) { const unsigned before = *p; *p |= v; return before; }
inline unsigned atomicAdd(unsigned* p, unsigned v) { const unsigned before = *p; *p += v; return before; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
using std::isfinite;
using std::isnan;
