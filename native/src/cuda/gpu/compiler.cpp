#include "cuda/gpu/compiler.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "common/error.h"

namespace cf::cuda::gpu {
namespace {

constexpr const char* kStandard = "--std=c++17";

/// The part of <cstdint>, and of <cmath>'s macros, that device code uses: NVRTC has no standard library.
constexpr const char* kCstdint = R"(#pragma once
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
namespace std {
using ::int8_t; using ::uint8_t; using ::int16_t; using ::uint16_t; using ::int32_t; using ::uint32_t; using ::int64_t; using ::uint64_t; using ::uintptr_t;
}
)";

class NvrtcProgram {
 public:
  NvrtcProgram(const Nvrtc& nvrtc, const std::string& text) : nvrtc_(nvrtc) {
    std::vector<const char*> names{"cstdint"}, texts{kCstdint};
    for (const auto& [name, header] : embedded_headers()) names.push_back(name.c_str()), texts.push_back(header.c_str());
    check(nvrtc.nvrtcCreateProgram(&program_, text.c_str(), "kernel.cu", static_cast<int>(names.size()), texts.data(), names.data()), "nvrtcCreateProgram");
  }
  ~NvrtcProgram() { nvrtc_.nvrtcDestroyProgram(&program_); }
  NvrtcProgram(const NvrtcProgram&) = delete;
  NvrtcProgram& operator=(const NvrtcProgram&) = delete;

  nvrtcProgram get() const { return program_; }
  std::string log() const {
    size_t bytes = 0;
    if (nvrtc_.nvrtcGetProgramLogSize(program_, &bytes) != NVRTC_SUCCESS || bytes == 0) return "";
    std::string out(bytes, '\0');
    if (nvrtc_.nvrtcGetProgramLog(program_, &out[0]) != NVRTC_SUCCESS) return "";
    out.resize(bytes - 1);
    return out;
  }

 private:
  const Nvrtc& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

}  // namespace

Compiler::Compiler(const Nvrtc& nvrtc, int major, int minor, DiskCache cache) : nvrtc_(nvrtc), cache_(std::move(cache)) {
  int count = 0;
  check(nvrtc.nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
  std::vector<int> archs(static_cast<size_t>(count));
  check(nvrtc.nvrtcGetSupportedArchs(archs.data()), "nvrtcGetSupportedArchs");
  const int wanted = 10 * major + minor;
  int newest = 0;
  for (const int arch : archs)
    if (arch <= wanted) newest = std::max(newest, arch);
  if (newest == 0)
    throw Error(Code::unsupported, "nvrtc", "the GPU is too old for " + describe(nvrtc) + ": it has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
                                                ". Use the device cpu.");
  ptx_ = newest != wanted;
  arch_ = std::string("--gpu-architecture=") + (ptx_ ? "compute_" : "sm_") + std::to_string(newest);
  key_ = describe(nvrtc) + "\n" + arch_ + "\n" + kStandard + "\n" + kCstdint;
  for (const auto& [name, text] : embedded_headers()) key_ += name + "\n" + text;
}

std::string Compiler::compile_one(const std::string& text) const {
  const std::string key = key_ + text;
  if (auto kept = cache_.get(key)) return *kept;
  const NvrtcProgram program(nvrtc_, text);
  const char* options[] = {arch_.c_str(), kStandard, "--relocatable-device-code=false"};
  const nvrtcResult result = nvrtc_.nvrtcCompileProgram(program.get(), 3, options);
  if (result != NVRTC_SUCCESS)
    throw Error(Code::internal, "nvrtc", std::string("a kernel does not compile (") + nvrtc_.nvrtcGetErrorString(result) + "):\n" + program.log() + "\n" + text);
  size_t bytes = 0;
  check(ptx_ ? nvrtc_.nvrtcGetPTXSize(program.get(), &bytes) : nvrtc_.nvrtcGetCUBINSize(program.get(), &bytes), "nvrtcGetCUBINSize");
  std::string code(bytes, '\0');
  check(ptx_ ? nvrtc_.nvrtcGetPTX(program.get(), &code[0]) : nvrtc_.nvrtcGetCUBIN(program.get(), &code[0]), "nvrtcGetCUBIN");
  cache_.put(key, code);
  return code;
}

std::vector<std::string> Compiler::compile(const std::vector<std::string>& texts) const {
  std::vector<std::string> out(texts.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i; (i = next++) < texts.size();) {
      try {
        out[i] = compile_one(texts[i]);
      } catch (...) {
        const std::lock_guard<std::mutex> hold(mutex);
        if (!failure) failure = std::current_exception();
        next = texts.size();
      }
    }
  };
  const size_t threads = std::min<size_t>({texts.size(), std::max(1u, std::thread::hardware_concurrency()), 16});
  std::vector<std::thread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
  return out;
}

}  // namespace cf::cuda::gpu
