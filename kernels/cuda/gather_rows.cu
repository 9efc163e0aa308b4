// output[i, :] = input[rows[i], :]
//
// Shapes     output [num_rows, hidden], input [num_tokens, hidden] fp32, rows may be strided; rows
//            [num_rows].
// Requires   rows inside input (Backend::gather_rows checks it).
// Mapping    grid (num_rows), block (256); a thread owns every 256th element of the row.
// Precision  exact.
// Cost       8 * num_rows * hidden bytes: memory bound.
// Checked by tests/kernels/gather_rows_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void gather_rows_kernel(float* output, const float* input, const int32_t* rows,
                                   int64_t output_stride, int64_t input_stride, int64_t hidden) {
  const int64_t from = rows[blockIdx.x];
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    output[blockIdx.x * output_stride + i] = input[from * input_stride + i];
  }
}

}  // namespace

void gather_rows(Queue& queue, Tensor output, Tensor input, const int32_t* rows) {
  queue.launch("gather_rows", {.grid = static_cast<unsigned int>(output.size(0))}, gather_rows_kernel,
               output.data<float>(), input.data<const float>(), rows, output.row_stride(), input.row_stride(),
               output.size(1));
}

}  // namespace octet::kernels::cuda
