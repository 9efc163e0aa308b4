// Rows of the embedding table that this rank holds, zeros for the others' tokens.
//
//   output[t, i] = table[tokens[t] - first_token, i] where that row is in the table, else 0
//
// Shapes     output [num_tokens, hidden] fp32; tokens [num_tokens]; table [num_rows, hidden] bf16 or
//            fp32; rows may be strided.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row.
// Precision  exact.
// Cost       num_tokens * hidden * (4 + bytes of an element of the table) bytes: memory bound.
// Checked by tests/kernels/embedding_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

template <typename Element>
__global__ void embedding_kernel(float* output, const int32_t* tokens, const Element* table,
                                 int64_t output_stride, int64_t table_stride, int64_t num_rows,
                                 int64_t hidden, int32_t first_token) {
  const int64_t t = blockIdx.x;
  const int64_t row = int64_t{tokens[t]} - first_token;
  const bool is_ours = row >= 0 && row < num_rows;
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    output[t * output_stride + i] = is_ours ? to_float(table[row * table_stride + i]) : 0.0f;
  }
}

}  // namespace

void embedding(Queue& queue, Tensor output, const int32_t* tokens, Tensor table, int32_t first_token) {
  const LaunchShape shape = {.grid = static_cast<unsigned int>(output.size(0))};
  with_type(table, [&]<typename Element>(const Element* elements) {
    queue.launch("embedding", shape, embedding_kernel<Element>, output.data<float>(), tokens, elements,
                 output.row_stride(), table.row_stride(), table.size(0), table.size(1), first_token);
  });
}

}  // namespace octet::kernels::cuda
