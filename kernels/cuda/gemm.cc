#include "kernels/cuda/gemm.h"

#include <cublasLt.h>

#include "base/check.h"
#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {
namespace {

void check(cublasStatus_t status, const char* what) {
  OCTET_CHECK(status == CUBLAS_STATUS_SUCCESS, what, ": ", cublasLtGetStatusString(status));
}

}  // namespace

// cuBLASLt is column-major: the output is num_columns x num_tokens there, the weight transposed times the
// input.
struct Gemm::Plan {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr;
  cublasLtMatrixLayout_t input = nullptr;
  cublasLtMatrixLayout_t output = nullptr;
  cublasLtMatmulAlgo_t algo = {};

  explicit Plan(const GemmShape& shape) {
    const cudaDataType_t type = shape.type == DType::kFloat8E4M3 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    const auto depth = static_cast<uint64_t>(shape.depth);
    const auto columns = static_cast<uint64_t>(shape.num_columns);
    const auto tokens = static_cast<uint64_t>(shape.num_tokens);
    check(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
          "CUBLASLT_MATMUL_DESC_TRANSA");
    check(cublasLtMatrixLayoutCreate(&weight, type, depth, columns, shape.depth), "layout of the weight");
    check(cublasLtMatrixLayoutCreate(&input, type, depth, tokens, shape.depth), "layout of the input");
    check(cublasLtMatrixLayoutCreate(&output, CUDA_R_32F, columns, tokens, shape.output_stride),
          "layout of the output");
  }
  ~Plan() {
    cublasLtMatrixLayoutDestroy(output);
    cublasLtMatrixLayoutDestroy(input);
    cublasLtMatrixLayoutDestroy(weight);
    cublasLtMatmulDescDestroy(desc);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // The best algorithm that has enough workspace, by cuBLASLt's own judgement.
  void choose_algorithm(cublasLtHandle_t handle, size_t workspace_bytes) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &workspace_bytes, sizeof workspace_bytes),
          "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES");
    cublasLtMatmulHeuristicResult_t found = {};
    int num_found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, desc, weight, input, output, output,
                                                                 preference, 1, &found, &num_found);
    cublasLtMatmulPreferenceDestroy(preference);
    check(status, "cublasLtMatmulAlgoGetHeuristic");
    OCTET_CHECK(num_found == 1, "cuBLASLt knows no algorithm for this product");
    algo = found.algo;
  }
};

Gemm::Gemm(void* workspace, size_t workspace_bytes)
    : workspace_(workspace), workspace_bytes_(workspace_bytes) {
  check(cublasLtCreate(&handle_), "cublasLtCreate");
}

Gemm::~Gemm() {
  plans_.clear();
  cublasLtDestroy(handle_);
}

const Gemm::Plan& Gemm::plan_of(const GemmShape& shape) {
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (plan == nullptr) {
    plan = std::make_unique<Plan>(shape);
    plan->choose_algorithm(handle_, workspace_bytes_);
  }
  return *plan;
}

void Gemm::multiply(const GemmShape& shape, float* output, const void* input, const void* weight,
                    Queue& queue) {
  const Plan& plan = plan_of(shape);
  if (queue.notes(&plan, output, input, weight)) return;
  const float one = 1;
  const float zero = 0;
  check(cublasLtMatmul(handle_, plan.desc, &one, weight, plan.weight, input, plan.input, &zero, output,
                       plan.output, output, plan.output, &plan.algo, workspace_, workspace_bytes_,
                       queue.stream()),
        "cublasLtMatmul");
}

}  // namespace octet::kernels::cuda
