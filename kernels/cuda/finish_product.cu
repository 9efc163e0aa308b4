// What comes after a product with a packed weight: the scales of its rows and columns, and the epilogue.
//
//   output[t, n] = epilogue(output[t, n] * row_scales[t] * scales[n])
//
// Shapes     output [num_tokens, num_columns] fp32, rows may be strided; row_scales [num_tokens] and scales
//            [num_columns] fp32 or none.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row.
// Precision  up to three fp32 multiplications.
// Cost       8 * num_tokens * num_columns bytes: memory bound.
// Checked by tests/kernels/cuda_packed_linear_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void finish_product_kernel(float* output, const float* row_scales, const float* scales,
                                      int64_t stride, int64_t num_columns, bool squared_relu) {
  float* const row = output + blockIdx.x * stride;
  for (int64_t n = threadIdx.x; n < num_columns; n += blockDim.x) {
    float x = row[n];
    if (row_scales != nullptr) x *= row_scales[blockIdx.x];
    if (scales != nullptr) x *= scales[n];
    if (squared_relu) {
      x = x < 0 ? 0.0f : x;  // keeps a NaN visible
      x *= x;
    }
    row[n] = x;
  }
}

}  // namespace

void finish_product(Queue& queue, Tensor output, const float* row_scales, const float* scales,
                    Epilogue epilogue) {
  if (row_scales == nullptr && scales == nullptr && epilogue == Epilogue::kNone) return;
  queue.launch("finish_product", {.grid = static_cast<unsigned int>(output.size(0))}, finish_product_kernel,
               output.data<float>(), row_scales, scales, output.row_stride(), output.size(1),
               epilogue == Epilogue::kSquaredRelu);
}

}  // namespace octet::kernels::cuda
