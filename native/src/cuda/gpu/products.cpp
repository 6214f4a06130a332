#include "cuda/gpu/products.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "common/error.h"

namespace cf::cuda::gpu {
namespace {

constexpr size_t kMaxWorkspace = 32u << 20;
constexpr int kProposals = 8;

/// Row-major data is column-major data of the transpose: C = A·B is asked for as Cᵀ = Bᵀ·Aᵀ.
struct Layout {
  uint64_t rows, columns, leading;  ///< column-major, as stored
  bool transposed;                  ///< to get the operand that the product needs
};

/// Of the transpose of an operand [rows, columns].
Layout layout(const Matmul::Operand& o, uint64_t rows, uint64_t columns) {
  // The stride of a dimension of one element says nothing.
  if (o.column_stride == 1 && (rows == 1 || o.row_stride >= columns)) return {columns, rows, rows == 1 ? columns : o.row_stride, false};
  if (columns == 1) return {1, rows, std::max<uint64_t>(o.row_stride, 1), false};
  if (o.row_stride == 1 || rows == 1) return {rows, columns, o.column_stride, true};
  throw Error(Code::internal, "matmul", "an operand without an inner stride of 1");
}

/// Bytes that a pointer at this place is aligned to, at most 16: more is of no use to any algorithm. Buffers begin at multiples of 64.
uint32_t alignment(const Place& p) {
  uint32_t bytes = 16;
  while (p.offset % bytes != 0) bytes /= 2;
  return bytes;
}

uint64_t elements(const Matmul::Operand& o, uint32_t batch, uint32_t rows, uint32_t columns) {
  return (batch - 1) * o.batch_stride + (rows - 1) * o.row_stride + (columns - 1) * o.column_stride + 1;
}

std::string text(const Matmul::Operand& o) {
  return "," + std::to_string(o.batch_stride) + "," + std::to_string(o.row_stride) + "," + std::to_string(o.column_stride) + "," + std::to_string(alignment(o.place));
}

}  // namespace

class ProductPlan {
 public:
  ProductPlan(const Blas& lt, const Matmul& m, Precision precision) : lt_(lt) {
    static const cublasComputeType_t kTypes[] = {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_16BF};
    const Layout b = layout(m.b, m.k, m.n), a = layout(m.a, m.m, m.k);
    check(lt.cublasLtMatmulDescCreate(&desc, kTypes[static_cast<uint32_t>(precision)], CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
    if (m.has_bias) set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_BIAS));
    create(first, b, m.batch, m.b.batch_stride);
    create(second, a, m.batch, m.a.batch_stride);
    create(result, {m.n, m.m, m.m == 1 ? m.n : m.c.row_stride, false}, m.batch, m.c.batch_stride);
  }
  ~ProductPlan() {
    for (cublasLtMatrixLayout_t l : {first, second, result})
      if (l) lt_.cublasLtMatrixLayoutDestroy(l);
    if (desc) lt_.cublasLtMatmulDescDestroy(desc);
  }
  ProductPlan(const ProductPlan&) = delete;
  ProductPlan& operator=(const ProductPlan&) = delete;

  void set_bias(const void* p) const { check(lt_.cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p, sizeof p), "cublasLtMatmulDescSetAttribute"); }

  cublasStatus_t run(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& how, const void* a, const void* b, void* c, void* workspace, size_t bytes, CUstream stream) const {
    const float one = 1, zero = 0;
    return lt_.cublasLtMatmul(handle, desc, &one, b, first, a, second, &zero, c, result, c, result, &how, workspace, bytes, stream);
  }

  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulAlgo_t algo{};
  uint64_t workspace = 0;

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t which, T value) {
    check(lt_.cublasLtMatmulDescSetAttribute(desc, which, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  void create(cublasLtMatrixLayout_t& to, const Layout& l, uint32_t batch, uint64_t batch_stride) {
    check(lt_.cublasLtMatrixLayoutCreate(&to, CUDA_R_32F, l.rows, l.columns, static_cast<int64_t>(l.leading)), "cublasLtMatrixLayoutCreate");
    if (batch == 1) return;
    const auto count = static_cast<int32_t>(batch);
    const auto stride = static_cast<int64_t>(batch_stride);
    check(lt_.cublasLtMatrixLayoutSetAttribute(to, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "cublasLtMatrixLayoutSetAttribute");
    check(lt_.cublasLtMatrixLayoutSetAttribute(to, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride), "cublasLtMatrixLayoutSetAttribute");
  }

  const Blas& lt_;
};

namespace {

/// cuBLASLt's proposals, best first by its own guess.
std::vector<cublasLtMatmulHeuristicResult_t> proposals(const Blas& lt, cublasLtHandle_t handle, const ProductPlan& plan, const Matmul& m) {
  cublasLtMatmulPreference_t preference = nullptr;
  check(lt.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t which, auto value) {
    if (status == CUBLAS_STATUS_SUCCESS) status = lt.cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kMaxWorkspace});
  // Partial sums that are added up in the output as blocks come along are left out: the others have one order.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(m.b.place));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(m.a.place));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(m.c.place));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(m.c.place));
  std::vector<cublasLtMatmulHeuristicResult_t> out(kProposals);
  int count = 0;
  if (status == CUBLAS_STATUS_SUCCESS)
    status = lt.cublasLtMatmulAlgoGetHeuristic(handle, plan.desc, plan.first, plan.second, plan.result, plan.result, preference, kProposals, out.data(), &count);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  out.resize(static_cast<size_t>(count));
  out.erase(std::remove_if(out.begin(), out.end(), [](const auto& r) { return r.state != CUBLAS_STATUS_SUCCESS || r.workspaceSize > kMaxWorkspace; }), out.end());
  return out;
}

}  // namespace

Products::Products(Device& device, Precision precision) : device_(device), precision_(precision) {
  device.enter();
  check(device.lt.cublasLtCreate(&handle_), "cublasLtCreate");
}

Products::~Products() {
  if (device_.cu.cuCtxSetCurrent(device_.context) == CUDA_SUCCESS) device_.lt.cublasLtDestroy(handle_);
}

size_t Products::workspace_bytes(const ProductPlan& plan) { return plan.workspace; }

std::shared_ptr<const ProductPlan> Products::plan(const Matmul& m) {
  std::string key = "matmul " + std::to_string(static_cast<uint32_t>(precision_)) + " " + std::to_string(m.batch) + "," + std::to_string(m.m) + "," + std::to_string(m.n) + "," +
                    std::to_string(m.k) + text(m.a) + text(m.b) + text(m.c) + (m.has_bias ? ",bias" + std::to_string(alignment(m.bias)) : "");
  const std::lock_guard<std::mutex> hold(mutex_);
  std::shared_ptr<ProductPlan>& known = plans_[key];
  if (known) return known;
  auto plan = std::make_shared<ProductPlan>(device_.lt, m, precision_);
  if (!choose(*plan, m, device_.identity() + "\n" + key)) throw Error(Code::unsupported, "matmul", "cuBLASLt has no algorithm for this product: " + key);
  return known = std::move(plan);
}

bool Products::choose(ProductPlan& plan, const Matmul& m, const std::string& key) {
  // Real operands at the places' alignment, so that what is measured (and loaded: kernels must not be loaded while a graph is captured) is what will run.
  const auto room = [](const Matmul::Operand& o, uint64_t count) { return 4 * count + o.place.offset % 16; };
  Temporary a(device_, room(m.a, elements(m.a, m.batch, m.m, m.k))), b(device_, room(m.b, elements(m.b, m.batch, m.k, m.n)));
  Temporary c(device_, room(m.c, elements(m.c, m.batch, m.m, m.n))), bias(device_, 4 * uint64_t{m.n} + 16), workspace(device_, kMaxWorkspace);
  if (m.has_bias) plan.set_bias(bias.data() + m.bias.offset % 16);
  const auto seconds = [&](const cublasLtMatmulAlgo_t& algo) {
    return measure(device_, [&] {
      return plan.run(handle_, algo, a.data() + m.a.place.offset % 16, b.data() + m.b.place.offset % 16, c.data() + m.c.place.offset % 16, workspace.data(), kMaxWorkspace,
                      device_.stream) == CUBLAS_STATUS_SUCCESS;
    });
  };
  if (const auto kept = cache_.get(key); kept && kept->size() == sizeof plan.algo) {
    std::memcpy(&plan.algo, kept->data(), sizeof plan.algo);
    cublasLtMatmulHeuristicResult_t found{};
    if (device_.lt.cublasLtMatmulAlgoCheck(handle_, plan.desc, plan.first, plan.second, plan.result, plan.result, &plan.algo, &found) == CUBLAS_STATUS_SUCCESS &&
        found.workspaceSize <= kMaxWorkspace && seconds(plan.algo) >= 0) {
      plan.workspace = found.workspaceSize;
      return true;
    }
  }
  double best = -1;
  for (const auto& proposal : proposals(device_.lt, handle_, plan, m)) {
    const double took = seconds(proposal.algo);
    if (took < 0 || (best >= 0 && took >= best)) continue;
    best = took, plan.algo = proposal.algo, plan.workspace = proposal.workspaceSize;
    if (!cache_.keeps()) break;
  }
  if (best >= 0) cache_.put(key, std::string(reinterpret_cast<const char*>(&plan.algo), sizeof plan.algo));
  return best >= 0;
}

void Products::run(const ProductPlan& plan, const Matmul& m, const Binding& binding, char* workspace) const {
  for (const Place* p : {&m.a.place, &m.b.place, &m.c.place})
    if (reinterpret_cast<uintptr_t>(binding.at(*p)) % alignment(*p) != 0) throw Error(Code::internal, "matmul", "an operand is less aligned than its place says");
  if (m.has_bias) plan.set_bias(binding.at(m.bias));
  check(plan.run(handle_, plan.algo, binding.at(m.a.place), binding.at(m.b.place), binding.at(m.c.place), workspace, plan.workspace, device_.stream), "cublasLtMatmul");
}

}  // namespace cf::cuda::gpu
