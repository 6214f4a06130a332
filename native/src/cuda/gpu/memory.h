// Device memory, and copies through pinned staging buffers.
#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "cuda/gpu/device.h"
#include "cuda/machine.h"

namespace cf::cuda::gpu {

/// From any thread. Copies are in the order of the stream and over when they return.
class DeviceMemory {
 public:
  explicit DeviceMemory(Device& device);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Throws Error{out_of_memory} that says what for, and how much was asked for and is free.
  char* allocate(uint64_t bytes, const std::string& what);
  void release(char* p) noexcept;
  FreeMemory free_memory();
  void upload(char* to, const void* from, uint64_t bytes);
  void download(void* to, const char* from, uint64_t bytes);
  void zero(char* p, uint64_t bytes);

 private:
  /// The GPU copies from (or to) one while the host fills (or empties) the other.
  struct Staging {
    explicit Staging(const Device& device);
    ~Staging();
    const Device& device;
    char* data = nullptr;
    std::unique_ptr<Event> done;
  };

  Device& device_;
  std::mutex copying_;
  std::unique_ptr<Staging> staging_[2];
};

}  // namespace cf::cuda::gpu
