#include "cuda/gpu/search.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <filesystem>

#include "cuda/gpu/disk_cache.h"

namespace cf::cuda::gpu {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t colon = std::min(text.find(':', at), text.size());
    if (colon > at) out.push_back(text.substr(at, colon - at));
    at = colon + 1;
  }
  return out;
}

class Folders {
 public:
  void add(const std::string& pattern) {
    glob_t found{};
    if (glob(pattern.c_str(), GLOB_ONLYDIR, nullptr, &found) == 0)
      for (size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
    globfree(&found);
  }
  /// A toolkit's folder, of whichever shape.
  void add_toolkit(const std::string& root) {
    if (root.empty()) return;
    for (const char* below : {"/lib64", "/lib", "/targets/*/lib"}) add(root + below);
    add_packages(root);
  }
  /// A folder that holds Python packages.
  void add_packages(const std::string& site) {
    add(site + "/nvidia/*/lib");
  }
  /// The packages of a Python installed below `prefix`.
  void add_python(const std::string& prefix) {
    for (const char* site : {"/lib/python3*/site-packages", "/lib/python3*/dist-packages", "/local/lib/python3*/dist-packages", "/lib/python3/dist-packages"})
      add_packages(prefix + site);
  }
  std::vector<std::string> out;
};

/// The prefixes that python3 may have: a virtual environment's program is a link to another installation's, and both have packages.
void add_python_on_path(Folders& folders) {
  for (const std::string& folder : split(variable("PATH"))) {
    std::error_code ignored;
    fs::path program = fs::path(folder) / "python3";
    if (!fs::exists(program, ignored)) continue;
    for (int links = 0; links < 8; ++links) {
      folders.add_python(program.parent_path().parent_path().string());
      if (!fs::is_symlink(program, ignored)) break;
      const fs::path to = fs::read_symlink(program, ignored);
      program = (to.is_absolute() ? to : program.parent_path() / to).lexically_normal();
    }
    return;
  }
}

}  // namespace

std::vector<std::string> library_folders() {
  Folders f;
  for (const std::string& folder : split(variable("COOPFLOW_CUDA_PATH"))) f.out.push_back(folder), f.add_toolkit(folder);
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) f.add_toolkit(variable(name));
  const std::string conda = variable("CONDA_PREFIX"), environment = variable("VIRTUAL_ENV"), home = variable("HOME");
  if (!conda.empty()) f.add(conda + "/lib"), f.add(conda + "/targets/*/lib"), f.add_python(conda);
  if (!environment.empty()) f.add_python(environment);
  add_python_on_path(f);
  if (!home.empty()) f.add_python(home + "/.local");
  const std::string cache = cache_folder();
  if (!cache.empty()) f.add_toolkit(cache + "/cuda-toolkit");
  for (const char* usual : {"/usr/local/cuda", "/opt/cuda"}) f.add_toolkit(usual);
  for (const char* usual : {"/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"}) f.add(usual);
  return f.out;
}

void* open_library(const std::vector<std::string>& names, std::string* why) {
  // Global, and for good: cuDNN finds cuBLASLt and NVRTC by their names among what is loaded already.
  const auto open = [](const std::string& file) { return dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL); };
  const std::vector<std::string> folders = library_folders();
  for (const std::string& name : names) {
    if (void* library = open(name)) return library;
    for (const std::string& folder : folders) {
      const std::string file = folder + "/" + name;
      std::error_code ignored;
      if (!fs::exists(file, ignored)) continue;
      // NVRTC looks for its second half by name alone, which finds it only when it is loaded already.
      if (name.rfind("libnvrtc.so", 0) == 0)
        for (const auto& entry : fs::directory_iterator(folder, ignored))
          if (entry.path().filename().string().rfind("libnvrtc-builtins.so.", 0) == 0) open(entry.path().string());
      if (void* library = open(file)) return library;
      const char* said = dlerror();
      if (why && said) *why = said;
    }
  }
  return nullptr;
}

}  // namespace cf::cuda::gpu
