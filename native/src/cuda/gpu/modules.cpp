#include "cuda/gpu/modules.h"

#include "common/error.h"

namespace cf::cuda::gpu {

Modules::~Modules() {
  if (device_.cu.cuCtxSetCurrent(device_.context) != CUDA_SUCCESS) return;
  for (auto& [text, kernel] : loaded_) device_.cu.cuModuleUnload(kernel.module);
}

std::vector<CUfunction> Modules::load(const LaunchList& list) {
  const std::lock_guard<std::mutex> hold(mutex_);
  std::vector<std::string> missing;
  for (const Kernel& k : list.kernels)
    if (!loaded_.count(k.text)) missing.push_back(k.text);
  const std::vector<std::string> codes = compiler_.compile(missing);
  for (size_t i = 0; i < missing.size(); ++i) loaded_.emplace(missing[i], load(codes[i]));
  for (const Launch& l : list.launches)
    if (l.kind == Launch::Kind::kernel) allow(loaded_.at(list.kernels[l.kernel].text), l);
  std::vector<CUfunction> out;
  for (const Kernel& k : list.kernels) out.push_back(loaded_.at(k.text).function);
  return out;
}

Modules::Loaded Modules::load(const std::string& code) const {
  Loaded k;
  const Driver& cu = device_.cu;
  check(cu.cuModuleLoadData(&k.module, code.c_str()), "cuModuleLoadData");
  check(cu.cuModuleGetFunction(&k.function, k.module, "cf_kernel"), "cuModuleGetFunction");
  // Now rather than at the first launch, which a capture may be recording.
  check(cu.cuFuncLoad(k.function), "cuFuncLoad");
  size_t offset = 0;
  check(cu.cuFuncGetParamInfo(k.function, 0, &offset, &k.args_bytes), "cuFuncGetParamInfo");
  check(cu.cuFuncGetAttribute(&k.static_shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, k.function), "cuFuncGetAttribute");
  check(cu.cuFuncGetAttribute(&k.max_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, k.function), "cuFuncGetAttribute");
  return k;
}

void Modules::allow(Loaded& k, const Launch& l) const {
  if (l.args.size() != k.args_bytes)
    throw Error(Code::internal, l.name, "the kernel takes " + std::to_string(k.args_bytes) + " bytes of arguments, its launch has " + std::to_string(l.args.size()));
  const uint64_t threads = uint64_t{l.block[0]} * l.block[1] * l.block[2];
  if (threads > static_cast<uint64_t>(k.max_threads))
    throw Error(Code::unsupported, l.name, "blocks of " + std::to_string(threads) + " threads are needed, this GPU runs at most " + std::to_string(k.max_threads) + " of this kernel");
  const int shared = static_cast<int>(l.shared_bytes);
  if (k.static_shared + shared > device_.shared_opt_in)
    throw Error(Code::unsupported, l.name,
                std::to_string(k.static_shared + shared) + " bytes of shared memory a block are needed, this GPU has " + std::to_string(device_.shared_opt_in));
  if (shared <= k.dynamic_shared || k.static_shared + shared <= device_.shared_bytes) return;
  check(device_.cu.cuFuncSetAttribute(k.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared), "cuFuncSetAttribute");
  k.dynamic_shared = shared;
}

}  // namespace cf::cuda::gpu
