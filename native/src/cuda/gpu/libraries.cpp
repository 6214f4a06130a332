#include "cuda/gpu/libraries.h"

#include <dlfcn.h>

#include <vector>

#include "common/error.h"
#include "cuda/gpu/search.h"

namespace cf::cuda::gpu {
namespace {

constexpr int kOldestDriver = 12040;
constexpr int kOldestToolkit = 12, kNewestToolkit = 13;

[[noreturn]] void unsupported(const std::string& message) { throw Error(Code::unsupported, "cf_context_create", message); }

std::string dotted(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

template <class F>
void find(void* library, const char* name, const std::string& file, F& to) {
  to = reinterpret_cast<F>(dlsym(library, name));
  if (!to) unsupported(file + " has no " + name + ": expected a newer version");
}

#define CF_TEXT2(x) #x
#define CF_TEXT(x) CF_TEXT2(x)
#define CF_FIND(function) find(library, CF_TEXT(function), file, table.function);

/// `stem` in the versions of CUDA that a driver of `cuda_major` runs, newest first.
std::vector<std::string> versions(const std::string& stem, int cuda_major) {
  std::vector<std::string> out;
  for (int major = std::min(cuda_major, kNewestToolkit); major >= kOldestToolkit; --major) out.push_back(stem + ".so." + std::to_string(major));
  return out;
}

void* open(const std::vector<std::string>& names, const std::string& what, const std::string& package) {
  std::string why;
  if (void* library = open_library(names, &why)) return library;
  unsupported(what + " was not found" + (why.empty() ? "" : " (" + why + ")") + ": expected " + names.front() + "; install it with pip install " + package +
              " (scripts/cuda_toolkit.sh installs all), or set COOPFLOW_CUDA_PATH to its folder");
}

/// NVIDIA's packages carry the version of CUDA in their names, until 13.
std::string package(const std::string& name, int cuda_major) {
  return cuda_major >= 13 ? name : name + "-cu12";
}

Driver load_driver() {
  void* const library = open_library({"libcuda.so.1"}, nullptr);
  if (!library)
    unsupported("this machine has no NVIDIA driver (libcuda.so.1); where there is an NVIDIA GPU, install the driver, version 550 or newer (Debian, Ubuntu: apt-get install "
                "nvidia-driver), else use the device cpu");
  const std::string file = "libcuda.so.1";
  Driver table;
  find(library, "cuDriverGetVersion", file, table.cuDriverGetVersion);
  if (table.cuDriverGetVersion(&table.version) != CUDA_SUCCESS) unsupported("the NVIDIA driver does not tell its version; install it again");
  if (table.version < kOldestDriver)
    unsupported("the NVIDIA driver is too old: expected one for CUDA " + dotted(kOldestDriver) + " or newer (version 550), found CUDA " + dotted(table.version) + ". Update the driver.");
  CF_DRIVER_FUNCTIONS(CF_FIND)
  find(library, "cuEventElapsedTime", file, table.event_elapsed);
  find(library, "cuStreamGetCaptureInfo_v2", file, table.capture_info);
  find(library, "cuStreamUpdateCaptureDependencies", file, table.set_capture_dependencies);
  return table;
}

Nvrtc load_nvrtc(int cuda_major) {
  const std::string file = "libnvrtc";
  void* const library = open(versions(file, cuda_major), "NVRTC, CUDA's run-time compiler,", package("nvidia-cuda-nvrtc", cuda_major));
  Nvrtc table;
  CF_NVRTC_FUNCTIONS(CF_FIND)
  check(table.nvrtcVersion(&table.major, &table.minor), "nvrtcVersion");
  return table;
}

Blas load_blas(int cuda_major) {
  const std::string file = "libcublasLt";
  void* const library = open(versions(file, cuda_major), "cuBLASLt", package("nvidia-cublas", cuda_major));
  Blas table;
  CF_BLAS_FUNCTIONS(CF_FIND)
  table.version = table.cublasLtGetVersion();
  return table;
}

Dnn load_dnn(int cuda_major) {
  const std::string file = "libcudnn.so.9", install = "nvidia-cudnn-cu" + std::to_string(std::min(std::max(cuda_major, kOldestToolkit), kNewestToolkit));
  std::string why;
  void* library = open_library({file}, &why);
  if (!library)
    for (const char* other : {"libcudnn.so.8", "libcudnn.so.10", "libcudnn.so"})
      if (why.empty() && open_library({other}, nullptr))
        unsupported("cuDNN is of another version: expected 9 (" + file + "), found " + other + "; install it with pip install " + install +
                    ", or set COOPFLOW_CUDA_PATH to its folder");
  if (!library) library = open({file}, "cuDNN 9", install);
  Dnn table;
  find(library, "cudnnGetVersion", file, table.cudnnGetVersion);
  table.version = table.cudnnGetVersion();
  if (table.version / 10000 != 9)
    unsupported("cuDNN is of another version: expected 9, found " + std::to_string(table.version) + "; install it with pip install " + install + ", or set COOPFLOW_CUDA_PATH to its folder");
  CF_DNN_FUNCTIONS(CF_FIND)
  return table;
}

}  // namespace

const Driver& driver() {
  static const Driver table = load_driver();
  return table;
}
const Nvrtc& nvrtc(int cuda_major) {
  static const Nvrtc table = load_nvrtc(cuda_major);
  return table;
}
const Blas& blas(int cuda_major) {
  static const Blas table = load_blas(cuda_major);
  return table;
}
const Dnn& dnn(int cuda_major) {
  static const Dnn table = load_dnn(cuda_major);
  return table;
}

std::string describe(const Driver& driver) { return "driver for CUDA " + dotted(driver.version); }
std::string describe(const Nvrtc& nvrtc) { return "NVRTC " + std::to_string(nvrtc.major) + "." + std::to_string(nvrtc.minor); }
std::string describe(const Blas& blas) {
  return "cuBLASLt " + std::to_string(blas.version / 10000) + "." + std::to_string(blas.version / 100 % 100) + "." + std::to_string(blas.version % 100);
}
std::string describe(const Dnn& dnn) {
  return "cuDNN " + std::to_string(dnn.version / 10000) + "." + std::to_string(dnn.version / 100 % 100) + "." + std::to_string(dnn.version % 100);
}

// The tables are open by the time that one of their functions fails.

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  throw Error(result == CUDA_ERROR_OUT_OF_MEMORY ? Code::out_of_memory : Code::internal, what,
              std::string(what) + ": the GPU's driver reports " + (name ? name : std::to_string(static_cast<int>(result))) + (text ? std::string(" (") + text + ")" : ""));
}

void check(nvrtcResult result, const char* what) {
  if (result != NVRTC_SUCCESS) throw Error(Code::internal, what, std::string(what) + ": NVRTC reports " + nvrtc(kNewestToolkit).nvrtcGetErrorString(result));
}

void check(cublasStatus_t result, const char* what) {
  if (result != CUBLAS_STATUS_SUCCESS) throw Error(Code::internal, what, std::string(what) + ": cuBLASLt reports " + blas(kNewestToolkit).cublasLtGetStatusString(result));
}

void check(cudnnStatus_t result, const char* what) {
  if (result != CUDNN_STATUS_SUCCESS) throw Error(Code::internal, what, std::string(what) + ": cuDNN reports " + dnn(kNewestToolkit).cudnnGetErrorString(result));
}

}  // namespace cf::cuda::gpu
