#include "cuda/gpu/device.h"

#include <cstdio>

#include "common/error.h"

namespace cf::cuda::gpu {
namespace {

[[noreturn]] void unsupported(const std::string& message) { throw Error(Code::unsupported, "cf_context_create", message); }

}  // namespace

Device::Device(uint32_t ordinal)
    : cu(driver()), rtc(nvrtc(cu.version / 1000)), lt(blas(cu.version / 1000)), nn(dnn(cu.version / 1000)) {
  int count = 0;
  const CUresult started = cu.cuInit(0);
  if (started == CUDA_ERROR_NO_DEVICE || (started == CUDA_SUCCESS && (cu.cuDeviceGetCount(&count) != CUDA_SUCCESS || count == 0)))
    unsupported("the NVIDIA driver finds no GPU on this machine: use the device cpu (CUDA_VISIBLE_DEVICES may hide GPUs)");
  check(started, "cuInit");
  if (ordinal >= static_cast<uint32_t>(count))
    unsupported("expected a device from cuda:0 to cuda:" + std::to_string(count - 1) + ", found cuda:" + std::to_string(ordinal));
  check(cu.cuDeviceGet(&device, static_cast<int>(ordinal)), "cuDeviceGet");
  char text[128] = "";
  check(cu.cuDeviceGetName(text, sizeof text - 1, device), "cuDeviceGetName");
  name = text;
  check(cu.cuDeviceTotalMem(&memory, device), "cuDeviceTotalMem");
  major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  shared_bytes = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
  shared_opt_in = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  check(cu.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  try {
    enter();
    check(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  } catch (...) {
    cu.cuDevicePrimaryCtxRelease(device);
    throw;
  }
}

Device::~Device() {
  cu.cuCtxSetCurrent(context);
  cu.cuStreamDestroy(stream);
  cu.cuDevicePrimaryCtxRelease(device);
}

int Device::attribute(CUdevice_attribute which) const {
  int value = 0;
  check(cu.cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

std::string Device::describe() const {
  char text[256];
  std::snprintf(text, sizeof text, "%s, %d multiprocessors, %.1f GiB; ", name.c_str(), multiprocessors, static_cast<double>(memory) / (1ull << 30));
  return text + gpu::describe(cu) + ", " + gpu::describe(rtc) + ", " + gpu::describe(lt) + ", " + gpu::describe(nn);
}

std::string Device::identity() const {
  return name + "/" + std::to_string(multiprocessors) + "/" + std::to_string(cu.version) + "/" + gpu::describe(lt) + "/" + gpu::describe(nn);
}

Temporary::Temporary(Device& device, size_t bytes) : device_(device) {
  const size_t words = (bytes + 3) / 4;
  const std::lock_guard<std::mutex> hold(device.enqueue);
  check(device.cu.cuMemAlloc(&pointer_, 4 * (words + 1)), "cuMemAlloc");
  const CUresult filled = device.cu.cuMemsetD32Async(pointer_, 0x3f800000u, words + 1, device.stream);
  if (filled != CUDA_SUCCESS) device.cu.cuMemFree(pointer_);
  check(filled, "cuMemsetD32Async");
}

Temporary::~Temporary() { device_.cu.cuMemFree(pointer_); }

Event::Event(const Device& device, unsigned flags) : device_(device) { check(device.cu.cuEventCreate(&event_, flags), "cuEventCreate"); }

Event::~Event() { device_.cu.cuEventDestroy(event_); }

double Event::seconds_since(const Event& before) const {
  float milliseconds = 0;
  check(device_.cu.event_elapsed(&milliseconds, before.event_, event_), "cuEventElapsedTime");
  return 1e-3 * static_cast<double>(milliseconds);
}

}  // namespace cf::cuda::gpu
