// Adds the ranks' data in their order, after an all-gather has put them one after the other: the same bits
// wherever an element lies, which a ring's order of additions does not give.
//
//   output[i] = ((gathered[0, i] + gathered[1, i]) + gathered[2, i]) + ...
//
// Shapes     output [count] fp32; gathered [num_ranks, count] fp32.
// Mapping    grid (count / 256 rounded up), block (256); a thread an element.
// Precision  one fp32 addition a rank.
// Cost       4 * (num_ranks + 1) * count bytes, beside the all-gather's: memory bound.
// Checked by tests/kernels/cuda_deterministic_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr unsigned int kThreads = 256;

__global__ void sum_ranks_kernel(float* output, const float* gathered, int64_t count, int64_t num_ranks) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = gathered[i];
  for (int64_t rank = 1; rank < num_ranks; ++rank) sum += gathered[rank * count + i];
  output[i] = sum;
}

}  // namespace

void sum_ranks(Queue& queue, float* output, const float* gathered, int64_t count, int64_t num_ranks) {
  const auto num_blocks = static_cast<unsigned int>((count + kThreads - 1) / kThreads);
  queue.launch("sum_ranks", {.grid = num_blocks, .threads = kThreads}, sum_ranks_kernel, output, gathered,
               count, num_ranks);
}

}  // namespace octet::kernels::cuda
