// The library's one export.
#include "executor/plugin.h"

#include <cstdio>
#include <cstring>

#include "common/error.h"
#include "coopflow.h"
#include "cuda/executable.h"
#include "cuda/gpu/machine.h"

namespace {

int32_t report(cf_error* err, cf::Code code, const char* op, const char* message) {
  err->code = static_cast<int32_t>(code);
  std::snprintf(err->op, sizeof err->op, "%s", op);
  std::snprintf(err->message, sizeof err->message, "%s", message);
  return err->code;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t cf_plugin_open(const char* build, uint32_t ordinal, uint32_t flags, std::shared_ptr<cf::Backend>* out,
                                                                          cf_error* err) {
  if (std::strcmp(build, CF_BUILD_ID) != 0)
    return report(err, cf::Code::unsupported, "cf_context_create", "libcoopflow_cuda is of another build than the library that loads it: build both again with deno task build");
  try {
    *out = cf::cuda::make_backend(std::make_shared<cf::cuda::gpu::GpuMachine>(ordinal, cf::cuda::precision_of(flags)), "cuda:" + std::to_string(ordinal), flags);
    return CF_OK;
  } catch (const cf::Error& e) {
    return report(err, e.code(), e.op().c_str(), e.what());
  } catch (const std::exception& e) {
    return report(err, cf::Code::internal, "cf_context_create", e.what());
  }
}
