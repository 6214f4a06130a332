// NVIDIA's libraries, opened at run time: this plugin links none of them. Each table has the functions that are used, typed by the toolkit's own headers.
#pragma once
#include <cublasLt.h>
#include <cuda.h>
#include <cudnn.h>
#include <nvrtc.h>

#include <string>

namespace cf::cuda::gpu {

#define CF_DRIVER_FUNCTIONS(X)                                                                                                                      \
  X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetName)                       \
  X(cuDeviceGetAttribute) X(cuDeviceTotalMem) X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease) X(cuCtxSetCurrent) X(cuMemGetInfo)           \
  X(cuMemAlloc) X(cuMemFree) X(cuMemHostAlloc) X(cuMemFreeHost) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemsetD8Async) X(cuMemsetD32Async)    \
  X(cuStreamCreate) X(cuStreamDestroy) X(cuStreamSynchronize) X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuEventCreate) X(cuEventDestroy)      \
  X(cuEventRecord) X(cuEventSynchronize) X(cuGraphAddEmptyNode) X(cuGraphInstantiateWithFlags) X(cuGraphDestroy) X(cuGraphExecDestroy)              \
  X(cuGraphLaunch) X(cuModuleLoadData) X(cuModuleUnload) X(cuModuleGetFunction) X(cuFuncLoad) X(cuFuncGetAttribute) X(cuFuncSetAttribute) X(cuFuncGetParamInfo)      \
  X(cuLaunchKernel)

#define CF_NVRTC_FUNCTIONS(X)                                                                                                                       \
  X(nvrtcVersion) X(nvrtcGetErrorString) X(nvrtcGetNumSupportedArchs) X(nvrtcGetSupportedArchs) X(nvrtcCreateProgram) X(nvrtcDestroyProgram)        \
  X(nvrtcCompileProgram) X(nvrtcGetProgramLogSize) X(nvrtcGetProgramLog) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN) X(nvrtcGetPTXSize) X(nvrtcGetPTX)

#define CF_BLAS_FUNCTIONS(X)                                                                                                                        \
  X(cublasLtGetVersion) X(cublasLtGetStatusString) X(cublasLtCreate) X(cublasLtDestroy) X(cublasLtMatmul) X(cublasLtMatmulAlgoGetHeuristic)         \
  X(cublasLtMatmulDescCreate) X(cublasLtMatmulDescDestroy) X(cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate)                          \
  X(cublasLtMatrixLayoutDestroy) X(cublasLtMatrixLayoutSetAttribute) X(cublasLtMatmulPreferenceCreate) X(cublasLtMatmulPreferenceDestroy)           \
  X(cublasLtMatmulPreferenceSetAttribute) X(cublasLtMatmulAlgoCheck)

#define CF_DNN_FUNCTIONS(X)                                                                                                                         \
  X(cudnnGetVersion) X(cudnnGetErrorString) X(cudnnCreate) X(cudnnDestroy) X(cudnnSetStream) X(cudnnCreateTensorDescriptor)                         \
  X(cudnnDestroyTensorDescriptor) X(cudnnSetTensor4dDescriptor) X(cudnnCreateFilterDescriptor) X(cudnnDestroyFilterDescriptor)                      \
  X(cudnnSetFilter4dDescriptor) X(cudnnCreateConvolutionDescriptor) X(cudnnDestroyConvolutionDescriptor) X(cudnnSetConvolution2dDescriptor)         \
  X(cudnnSetConvolutionMathType) X(cudnnGetConvolutionForwardAlgorithm_v7) X(cudnnGetConvolutionBackwardDataAlgorithm_v7)                           \
  X(cudnnGetConvolutionBackwardFilterAlgorithm_v7) X(cudnnConvolutionForward) X(cudnnConvolutionBackwardData) X(cudnnConvolutionBackwardFilter)

// The headers rename some functions to versions of them (cuMemAlloc is cuMemAlloc_v2): members take the version's name, and so does each use of them.
#define CF_MEMBER(function) decltype(&::function) function = nullptr;

struct Driver {
  CF_DRIVER_FUNCTIONS(CF_MEMBER)
  /// The first versions of these: later headers rename them to ones that older drivers lack.
  CUresult (*event_elapsed)(float*, CUevent, CUevent) = nullptr;
  CUresult (*capture_info)(CUstream, CUstreamCaptureStatus*, cuuint64_t*, CUgraph*, const CUgraphNode**, size_t*) = nullptr;
  CUresult (*set_capture_dependencies)(CUstream, CUgraphNode*, size_t, unsigned) = nullptr;
  int version = 0;  ///< 12040: CUDA 12.4
};

struct Nvrtc {
  CF_NVRTC_FUNCTIONS(CF_MEMBER)
  int major = 0, minor = 0;
};

struct Blas {
  CF_BLAS_FUNCTIONS(CF_MEMBER)
  size_t version = 0;
};

struct Dnn {
  CF_DNN_FUNCTIONS(CF_MEMBER)
  size_t version = 0;
};

#undef CF_MEMBER

/// Opened once, for good. All throw Error{unsupported} that names what is missing and the line that installs it.
const Driver& driver();
/// `cuda_major`: of the driver. Libraries of that version of CUDA, else of an earlier one that it runs.
const Nvrtc& nvrtc(int cuda_major);
const Blas& blas(int cuda_major);
const Dnn& dnn(int cuda_major);

std::string describe(const Driver& driver);
std::string describe(const Nvrtc& nvrtc);
std::string describe(const Blas& blas);
std::string describe(const Dnn& dnn);

/// Throw Error naming `what` and what the library says.
void check(CUresult result, const char* what);
void check(nvrtcResult result, const char* what);
void check(cublasStatus_t result, const char* what);
void check(cudnnStatus_t result, const char* what);

}  // namespace cf::cuda::gpu
