// Products with packed weights on tensor cores, by cuBLASLt.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/tensor.h"

struct cublasLtContext;  // what a cublasLtHandle_t points to; cublasLt.h is for gemm.cc only

namespace octet::kernels::cuda {

// output[t, n] = sum_k input[t, k] * weight[n, k], of bf16 or fp8 E4M3. With fp8, num_columns and depth are
// multiples of 16.
struct GemmShape {
  int64_t num_tokens;
  int64_t num_columns;
  int64_t depth;
  int64_t output_stride;
  DType type = DType::kBFloat16;

  bool operator<(const GemmShape& other) const {
    return std::tie(num_tokens, num_columns, depth, output_stride, type) <
           std::tie(other.num_tokens, other.num_columns, other.depth, other.output_stride, other.type);
  }
};

class Queue;  // launch.h

// Of one rank: its handle, and the algorithm of each shape once it has been chosen.
class Gemm {
 public:
  // workspace: memory of the device for products that are divided over their depth, or none.
  Gemm(void* workspace, size_t workspace_bytes);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // output: [num_tokens, num_columns] fp32, rows output_stride apart; input: [num_tokens, depth];
  // weight: [num_columns, depth]; all on the queue's device, aligned to 16 bytes. Sums are in fp32.
  void multiply(const GemmShape& shape, float* output, const void* input, const void* weight, Queue& queue);

 private:
  struct Plan;
  const Plan& plan_of(const GemmShape& shape);

  void* const workspace_;
  const size_t workspace_bytes_;
  cublasLtContext* handle_ = nullptr;
  std::map<GemmShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace octet::kernels::cuda
