// output[t, i] += input[t, i]
//
// Shapes     output, input [num_tokens, hidden] fp32; rows may be strided.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row.
// Precision  one fp32 addition.
// Cost       12 * num_tokens * hidden bytes: memory bound.
// Checked by tests/kernels/add_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void add_kernel(float* output, const float* input, int64_t output_stride, int64_t input_stride,
                           int64_t hidden) {
  const int64_t t = blockIdx.x;
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    output[t * output_stride + i] += input[t * input_stride + i];
  }
}

}  // namespace

void add(Queue& queue, Tensor output, Tensor input) {
  queue.launch("add", {.grid = static_cast<unsigned int>(output.size(0))}, add_kernel, output.data<float>(),
               input.data<const float>(), output.row_stride(), input.row_stride(), output.size(1));
}

}  // namespace octet::kernels::cuda
