#include "cuda/gpu/convolutions.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/error.h"

namespace cf::cuda::gpu {
namespace {

constexpr size_t kMaxWorkspace = 256u << 20;
using Kind = Convolution::Kind;

/// One algorithm for a plan's kind of convolution: what the cache keeps.
struct Choice {
  int32_t algo = 0, math = 0;
  uint64_t workspace = 0;
};

int as_int(uint32_t v) { return static_cast<int>(v); }

}  // namespace

class ConvolutionPlan {
 public:
  ConvolutionPlan(const Dnn& nn, const Convolution& v) : kind(v.kind), bf16(v.bf16), nn_(nn) {
    check(nn.cudnnCreateTensorDescriptor(&x), "cudnnCreateTensorDescriptor");
    check(nn.cudnnCreateTensorDescriptor(&y), "cudnnCreateTensorDescriptor");
    check(nn.cudnnCreateFilterDescriptor(&weights), "cudnnCreateFilterDescriptor");
    check(nn.cudnnCreateConvolutionDescriptor(&convolution), "cudnnCreateConvolutionDescriptor");
    const cudnnDataType_t type = v.bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    check(nn.cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, type, as_int(v.n), as_int(v.i), as_int(v.h), as_int(v.w)), "cudnnSetTensor4dDescriptor");
    check(nn.cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, type, as_int(v.n), as_int(v.o), as_int(v.oh), as_int(v.ow)), "cudnnSetTensor4dDescriptor");
    // [O, kh, kw, I] as stored; cuDNN always counts them in the order O, I, kh, kw.
    check(nn.cudnnSetFilter4dDescriptor(weights, type, CUDNN_TENSOR_NHWC, as_int(v.o), as_int(v.i), as_int(v.kh), as_int(v.kw)), "cudnnSetFilter4dDescriptor");
    // Sums are float32, whatever the operands are.
    const int padding = as_int(v.padding), stride = as_int(v.stride);
    check(nn.cudnnSetConvolution2dDescriptor(convolution, padding, padding, stride, stride, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT), "cudnnSetConvolution2dDescriptor");
  }
  ~ConvolutionPlan() {
    if (convolution) nn_.cudnnDestroyConvolutionDescriptor(convolution);
    if (weights) nn_.cudnnDestroyFilterDescriptor(weights);
    if (y) nn_.cudnnDestroyTensorDescriptor(y);
    if (x) nn_.cudnnDestroyTensorDescriptor(x);
  }
  ConvolutionPlan(const ConvolutionPlan&) = delete;
  ConvolutionPlan& operator=(const ConvolutionPlan&) = delete;

  void set_math(int32_t math) const { check(nn_.cudnnSetConvolutionMathType(convolution, static_cast<cudnnMathType_t>(math)), "cudnnSetConvolutionMathType"); }

  /// cuDNN's proposals, best first by its own guess.
  std::vector<Choice> proposals(cudnnHandle_t handle, bool exact) const {
    set_math(exact ? CUDNN_FMA_MATH : bf16 ? CUDNN_TENSOR_OP_MATH : CUDNN_DEFAULT_MATH);
    switch (kind) {
      case Kind::forward:
        return usable<cudnnConvolutionFwdAlgoPerf_t, CUDNN_CONVOLUTION_FWD_ALGO_COUNT>(
            exact, [&](int most, int* count, cudnnConvolutionFwdAlgoPerf_t* out) { return nn_.cudnnGetConvolutionForwardAlgorithm_v7(handle, x, weights, convolution, y, most, count, out); });
      case Kind::data_grad:
        return usable<cudnnConvolutionBwdDataAlgoPerf_t, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT>(exact, [&](int most, int* count, cudnnConvolutionBwdDataAlgoPerf_t* out) {
          return nn_.cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, weights, y, convolution, x, most, count, out);
        });
      case Kind::weight_grad:
        return usable<cudnnConvolutionBwdFilterAlgoPerf_t, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT>(exact, [&](int most, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* out) {
          return nn_.cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, x, y, convolution, weights, most, count, out);
        });
    }
    return {};
  }

  cudnnStatus_t run(cudnnHandle_t handle, const Choice& c, void* px, void* pw, void* py, void* workspace) const {
    const float one = 1, zero = 0;
    set_math(c.math);
    switch (kind) {
      case Kind::forward:
        return nn_.cudnnConvolutionForward(handle, &one, x, px, weights, pw, convolution, static_cast<cudnnConvolutionFwdAlgo_t>(c.algo), workspace, c.workspace, &zero, y, py);
      case Kind::data_grad:
        return nn_.cudnnConvolutionBackwardData(handle, &one, weights, pw, y, py, convolution, static_cast<cudnnConvolutionBwdDataAlgo_t>(c.algo), workspace, c.workspace, &zero, x, px);
      case Kind::weight_grad:
        return nn_.cudnnConvolutionBackwardFilter(handle, &one, x, px, y, py, convolution, static_cast<cudnnConvolutionBwdFilterAlgo_t>(c.algo), workspace, c.workspace, &zero, weights,
                                                  pw);
    }
    return CUDNN_STATUS_BAD_PARAM;
  }

  const Kind kind;
  const bool bf16;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t weights = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  Choice choice;

 private:
  template <class Found, int kMost, class Get>
  static std::vector<Choice> usable(bool exact, const Get& get) {
    Found found[kMost];
    int count = 0;
    check(get(kMost, &count, found), "cudnnGetConvolutionAlgorithm");
    std::vector<Choice> out;
    for (int i = 0; i < count; ++i) {
      const Found& f = found[i];
      if (f.status != CUDNN_STATUS_SUCCESS || f.determinism != CUDNN_DETERMINISTIC || f.memory > kMaxWorkspace) continue;
      // Half precision is never asked for; exact float32 is multiply-add alone, whatever the algorithm would like.
      if (f.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION || (exact && f.mathType == CUDNN_TENSOR_OP_MATH)) continue;
      out.push_back({static_cast<int32_t>(f.algo), static_cast<int32_t>(exact ? CUDNN_FMA_MATH : f.mathType), f.memory});
    }
    return out;
  }

  const Dnn& nn_;
};

Convolutions::Convolutions(Device& device, Precision precision) : device_(device), precision_(precision) {
  device.enter();
  check(device.nn.cudnnCreate(&handle_), "cudnnCreate");
  check(device.nn.cudnnSetStream(handle_, device.stream), "cudnnSetStream");
}

Convolutions::~Convolutions() {
  if (device_.cu.cuCtxSetCurrent(device_.context) == CUDA_SUCCESS) device_.nn.cudnnDestroy(handle_);
}

size_t Convolutions::workspace_bytes(const ConvolutionPlan& plan) { return plan.choice.workspace; }

std::shared_ptr<const ConvolutionPlan> Convolutions::plan(const Convolution& v) {
  std::string key = "convolution " + std::to_string(static_cast<uint32_t>(precision_)) + " " + std::to_string(static_cast<int>(v.kind));
  for (const uint32_t n : {v.n, v.h, v.w, v.i, v.oh, v.ow, v.o, v.kh, v.kw, v.stride, v.padding}) key += "," + std::to_string(n);
  const std::lock_guard<std::mutex> hold(mutex_);
  std::shared_ptr<ConvolutionPlan>& known = plans_[key];
  if (known) return known;
  auto plan = std::make_shared<ConvolutionPlan>(device_.nn, v);
  if (!choose(*plan, v, device_.identity() + "\n" + key)) throw Error(Code::unsupported, "conv", "cuDNN has no deterministic algorithm for this convolution: " + key);
  return known = std::move(plan);
}

bool Convolutions::choose(ConvolutionPlan& plan, const Convolution& v, const std::string& key) {
  const uint64_t each = v.bf16 ? 2 : 4;
  Temporary x(device_, each * v.n * v.h * v.w * v.i), y(device_, each * v.n * v.oh * v.ow * v.o), w(device_, each * v.o * v.kh * v.kw * v.i);
  const auto seconds = [&](const Choice& c) {
    Temporary workspace(device_, c.workspace);
    return measure(device_, [&] { return plan.run(handle_, c, x.data(), w.data(), y.data(), workspace.data()) == CUDNN_STATUS_SUCCESS; });
  };
  if (const auto kept = cache_.get(key); kept && kept->size() == sizeof plan.choice) {
    std::memcpy(&plan.choice, kept->data(), sizeof plan.choice);
    if (seconds(plan.choice) >= 0) return true;
  }
  std::vector<Choice> choices;
  {
    const std::lock_guard<std::mutex> hold(device_.enqueue);
    choices = plan.proposals(handle_, precision_ == Precision::float32);
  }
  double best = -1;
  for (const Choice& c : choices) {
    const double took = seconds(c);
    if (took < 0 || (best >= 0 && took >= best)) continue;
    best = took, plan.choice = c;
    if (!cache_.keeps()) break;
  }
  if (best >= 0) cache_.put(key, std::string(reinterpret_cast<const char*>(&plan.choice), sizeof plan.choice));
  return best >= 0;
}

void Convolutions::run(const ConvolutionPlan& plan, const Convolution& v, const Binding& binding, char* workspace) const {
  check(plan.run(handle_, plan.choice, binding.at(v.x), binding.at(v.weights), binding.at(v.y), workspace), "cudnnConvolution");
}

}  // namespace cf::cuda::gpu
