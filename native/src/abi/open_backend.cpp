#include "abi/open_backend.h"

#include "abi/guard.h"
#include "coopflow.h"
#include "cpu/backend.h"
#include "cpu/device.h"
#include "executor/plugin.h"

namespace cf::abi {
namespace {

/// n of "cuda:n"; "cuda" is the first.
uint32_t ordinal_of(const std::string& name, const char* op) {
  if (name == "cuda") return 0;
  const std::string digits = name.size() > 5 && name[4] == ':' ? name.substr(5) : "";
  require(!digits.empty() && digits.size() < 4 && digits.find_first_not_of("0123456789") == std::string::npos, op, "expected the device cuda or cuda:number, found " + name);
  return static_cast<uint32_t>(std::stoul(digits));
}

}  // namespace

std::shared_ptr<Backend> open_backend(const std::string& name, int32_t threads, int32_t isa, uint32_t flags, const char* op) {
  const bool cuda = name.rfind("cuda", 0) == 0;
  const uint32_t known = cuda ? CF_NO_WINOGRAD | CF_TF32 | CF_BF16 : uint32_t{CF_NO_WINOGRAD};
  require((flags & ~known) == 0, op, "unknown flags " + std::to_string(flags) + " for the device " + name);
  if (cuda) return open_cuda(ordinal_of(name, op), flags);
  require(name == "cpu", op, "expected the device cpu or cuda[:number], found " + name);
  return cpu::make_backend(cpu::make_device(threads, isa, !(flags & CF_NO_WINOGRAD)));
}

}  // namespace cf::abi
