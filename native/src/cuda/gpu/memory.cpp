#include "cuda/gpu/memory.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"

namespace cf::cuda::gpu {
namespace {

constexpr uint64_t kStaging = 4u << 20;
constexpr unsigned kEventFlags = CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC;

CUdeviceptr address(const char* p) { return reinterpret_cast<CUdeviceptr>(p); }

}  // namespace

DeviceMemory::Staging::Staging(const Device& d) : device(d), done(std::make_unique<Event>(d, kEventFlags)) {
  void* p = nullptr;
  check(d.cu.cuMemHostAlloc(&p, kStaging, 0), "cuMemHostAlloc");
  data = static_cast<char*>(p);
}

DeviceMemory::Staging::~Staging() { device.cu.cuMemFreeHost(data); }

DeviceMemory::DeviceMemory(Device& device) : device_(device) {
  device.enter();
  for (auto& s : staging_) s = std::make_unique<Staging>(device);
}

DeviceMemory::~DeviceMemory() { device_.cu.cuCtxSetCurrent(device_.context); }

char* DeviceMemory::allocate(uint64_t bytes, const std::string& what) {
  device_.enter();
  CUdeviceptr p = 0;
  const CUresult result = device_.cu.cuMemAlloc(&p, std::max<uint64_t>(bytes, 1));
  if (result == CUDA_ERROR_OUT_OF_MEMORY) throw out_of_memory(device_.name, what, bytes, free_memory());
  check(result, "cuMemAlloc");
  return reinterpret_cast<char*>(p);
}

FreeMemory DeviceMemory::free_memory() {
  device_.enter();
  size_t free = 0, total = 0;
  check(device_.cu.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return {free, total};
}

void DeviceMemory::release(char* p) noexcept {
  // After an error of the device it fails, and there is nothing left to free.
  if (device_.cu.cuCtxSetCurrent(device_.context) == CUDA_SUCCESS) device_.cu.cuMemFree(address(p));
}

void DeviceMemory::upload(char* to, const void* from, uint64_t bytes) {
  device_.enter();
  const std::lock_guard<std::mutex> hold(copying_);
  int turn = 0;
  for (uint64_t at = 0; at < bytes; at += kStaging, turn ^= 1) {
    Staging& s = *staging_[turn];
    const uint64_t part = std::min(kStaging, bytes - at);
    check(s.done->wait(), "copying to the GPU");  // its last copy; at once where there was none
    std::memcpy(s.data, static_cast<const char*>(from) + at, part);
    const std::lock_guard<std::mutex> order(device_.enqueue);
    check(device_.cu.cuMemcpyHtoDAsync(address(to + at), s.data, part, device_.stream), "cuMemcpyHtoDAsync");
    s.done->record();
  }
  for (auto& s : staging_) check(s->done->wait(), "copying to the GPU");
}

void DeviceMemory::download(void* to, const char* from, uint64_t bytes) {
  device_.enter();
  const std::lock_guard<std::mutex> hold(copying_);
  const auto start = [&](uint64_t at) {
    Staging& s = *staging_[at / kStaging % 2];
    const std::lock_guard<std::mutex> order(device_.enqueue);
    check(device_.cu.cuMemcpyDtoHAsync(s.data, address(from + at), std::min(kStaging, bytes - at), device_.stream), "cuMemcpyDtoHAsync");
    s.done->record();
  };
  if (bytes > 0) start(0);
  for (uint64_t at = 0; at < bytes; at += kStaging) {
    if (at + kStaging < bytes) start(at + kStaging);
    Staging& s = *staging_[at / kStaging % 2];
    check(s.done->wait(), "copying from the GPU");
    std::memcpy(static_cast<char*>(to) + at, s.data, std::min(kStaging, bytes - at));
  }
}

void DeviceMemory::zero(char* p, uint64_t bytes) {
  if (bytes == 0) return;
  device_.enter();
  Event done(device_, kEventFlags);
  {
    const std::lock_guard<std::mutex> order(device_.enqueue);
    check(device_.cu.cuMemsetD8Async(address(p), 0, bytes, device_.stream), "cuMemsetD8Async");
    done.record();
  }
  check(done.wait(), "clearing memory of the GPU");
}

}  // namespace cf::cuda::gpu
