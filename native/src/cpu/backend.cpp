#include "cpu/backend.h"

#include <cstdlib>
#include <cstring>

#include "cpu/device.h"
#include "cpu/executable.h"
#include "cpu/memory.h"

namespace cf::cpu {
namespace {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const Device& device) : device_(device) {}

  Info info() const override { return {"cpu", std::string(isa_name(device_.isa)) + ", " + std::to_string(device_.threads) + " threads", device_.threads, isa_name(device_.isa), device_.winograd, 0}; }
  char* allocate(uint64_t bytes, const std::string& what) override { return cpu::allocate(bytes, what); }
  void release(char* p) noexcept override { std::free(p); }
  void zero(char* p, uint64_t bytes) override { std::memset(p, 0, bytes); }
  void upload(char* to, const void* from, uint64_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const char* from, uint64_t bytes) override { std::memcpy(to, from, bytes); }
  std::unique_ptr<Executable> prepare(const Program& program) override { return make_executable(program, device_); }

 private:
  const Device device_;
};

}  // namespace

std::shared_ptr<Backend> make_backend(const Device& device) { return std::make_shared<CpuBackend>(device); }

}  // namespace cf::cpu
