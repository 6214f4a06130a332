#include "executor/plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "common/error.h"

namespace cf {
namespace {

[[noreturn]] void unsupported(const std::string& message) { throw Error(Code::unsupported, "cf_context_create", message); }

std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&own_folder), &info) || !info.dli_fname) return "";
  const std::string file = info.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

OpenBackend load(const std::string& file) {
  if (access(file.c_str(), F_OK) != 0)
    unsupported("built without a CUDA backend; to have one, install a CUDA toolkit (scripts/cuda_toolkit.sh fetches one) and build again with deno task build");
  // Never closed: its threads may outlive a context, and it is linked with -z nodelete like this library.
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    unsupported("the CUDA backend does not load; " + std::string(why ? why : file.c_str()));
  }
  const auto open = reinterpret_cast<OpenBackend>(dlsym(library, "cf_plugin_open"));
  if (!open) unsupported(file + " has no cf_plugin_open: expected coopflow's CUDA backend; build it again with deno task build");
  return open;
}

}  // namespace

std::shared_ptr<Backend> open_cuda(uint32_t ordinal, uint32_t flags) {
  static std::mutex mutex;
  static std::map<std::string, OpenBackend> loaded;
  const char* named = std::getenv("COOPFLOW_CUDA_PLUGIN");
  const std::string file = named && *named ? named : own_folder() + "/libcoopflow_cuda.so";
  const std::lock_guard<std::mutex> hold(mutex);
  OpenBackend& open = loaded[file];
  if (!open) open = load(file);
  std::shared_ptr<Backend> backend;
  cf_error error{};
  if (open(CF_BUILD_ID, ordinal, flags, &backend, &error) != CF_OK) throw Error(static_cast<Code>(error.code), error.op, error.message);
  return backend;
}

}  // namespace cf
