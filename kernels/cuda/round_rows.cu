// Rows of activations rounded to bf16, side by side, for products with packed weights.
//
//   output[t, k] = bf16(input[t, k])
//
// Shapes     output [num_tokens, depth] bf16, packed; input [num_tokens, depth] fp32, rows may be strided.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row.
// Precision  to nearest, ties to even.
// Cost       6 * num_tokens * depth bytes: memory bound.
// Checked by tests/kernels/cuda_packed_linear_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void round_rows_kernel(__nv_bfloat16* output, const float* input, int64_t input_stride,
                                  int64_t depth) {
  const int64_t t = blockIdx.x;
  for (int64_t k = threadIdx.x; k < depth; k += blockDim.x) {
    output[t * depth + k] = __float2bfloat16(input[t * input_stride + k]);
  }
}

}  // namespace

void round_rows(Queue& queue, void* output, Tensor input) {
  queue.launch("round_rows", {.grid = static_cast<unsigned int>(input.size(0))}, round_rows_kernel,
               static_cast<__nv_bfloat16*>(output), input.data<const float>(), input.row_stride(),
               input.size(1));
}

}  // namespace octet::kernels::cuda
