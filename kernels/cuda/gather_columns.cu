// Puts the ranks' columns side by side, after an all-gather has put them one after the other.
//
//   output[t, r * num_columns + n] = gathered[r, t, n]
//
// Shapes     output [num_tokens, num_ranks * num_columns] fp32, rows may be strided; gathered
//            [num_ranks] times [num_tokens, num_columns] fp32, rank_stride elements apart, rows
//            row_stride apart.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row.
// Precision  exact.
// Cost       8 * num_tokens * num_ranks * num_columns bytes: memory bound.
// Checked by tests/kernels/all_gather_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void gather_columns_kernel(float* output, const float* gathered, int64_t output_stride,
                                      int64_t rank_stride, int64_t row_stride, int64_t num_columns,
                                      int64_t num_ranks) {
  const int64_t t = blockIdx.x;
  for (int64_t i = threadIdx.x; i < num_ranks * num_columns; i += blockDim.x) {
    const int64_t rank = i / num_columns;
    output[t * output_stride + i] = gathered[rank * rank_stride + t * row_stride + i % num_columns];
  }
}

}  // namespace

void gather_columns(Queue& queue, Tensor output, const float* gathered, int64_t rank_stride,
                    int64_t row_stride, int64_t num_ranks) {
  queue.launch("gather_columns", {.grid = static_cast<unsigned int>(output.size(0))}, gather_columns_kernel,
               output.data<float>(), gathered, output.row_stride(), rank_stride, row_stride,
               output.size(1) / num_ranks, num_ranks);
}

}  // namespace octet::kernels::cuda
