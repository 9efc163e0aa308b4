// LayerNorm1P over the last dimension, one block a token, with the residual add before it where there is one.
//
//   residual[t, i] += input[t, i]
//   output[t, i] = (residual[t, i] - mean) / sqrt(variance + epsilon) * (weight[i] + 1) + bias[i]
//
// Shapes     output, residual, input [num_tokens, hidden] fp32, rows may be strided, none aliasing
//            another; weight, bias [hidden] bf16 or fp32.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row and sums them
//            in order, then warps by a butterfly, then the block in order of warps.
// Precision  fp32; the variance is summed from the differences to the mean.
// Cost       8 * num_tokens * hidden bytes, 16 with the add, and weight and bias: memory bound (the
//            row's later reads hit L1).
// Checked by tests/kernels/layer_norm_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr unsigned int kThreads = 256;
constexpr unsigned int kWarps = kThreads / 32;

struct Rows {
  float* output;
  float* residual;
  const float* input;  // nullptr: nothing to add
  int64_t output_stride;
  int64_t residual_stride;
  int64_t input_stride;
  int64_t hidden;
};

template <typename Weight, typename Bias>
__global__ __launch_bounds__(kThreads) void layer_norm_kernel(Rows rows, const Weight* weight,
                                                              const Bias* bias, float epsilon) {
  auto* const sums = reinterpret_cast<float*>(octet_shared);  // [2][kWarps]
  float* const residual = rows.residual + blockIdx.x * rows.residual_stride;
  float* const output = rows.output + blockIdx.x * rows.output_stride;
  const int64_t first = threadIdx.x;
  float sum = 0;
  for (int64_t i = first; i < rows.hidden; i += kThreads) {
    if (rows.input != nullptr) residual[i] += rows.input[blockIdx.x * rows.input_stride + i];
    sum += residual[i];
  }
  const auto size = static_cast<float>(rows.hidden);
  const float mean = block_sum(sum, sums) / size;
  float squares = 0;
  for (int64_t i = first; i < rows.hidden; i += kThreads) {
    const float difference = residual[i] - mean;
    squares = fmaf(difference, difference, squares);
  }
  const float scale = 1.0f / sqrtf(block_sum(squares, sums + kWarps) / size + epsilon);
  for (int64_t i = first; i < rows.hidden; i += kThreads) {
    output[i] = (residual[i] - mean) * scale * (to_float(weight[i]) + 1.0f) + to_float(bias[i]);
  }
}

}  // namespace

void layer_norm(Queue& queue, Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                float epsilon) {
  const Rows rows = {.output = output.data<float>(),
                     .residual = residual.data<float>(),
                     .input = input.data<const float>(),
                     .output_stride = output.row_stride(),
                     .residual_stride = residual.row_stride(),
                     .input_stride = input.rank() > 0 ? input.row_stride() : 0,
                     .hidden = residual.size(1)};
  const LaunchShape shape = {.grid = static_cast<unsigned int>(output.size(0)),
                             .threads = kThreads,
                             .shared_bytes = 2 * kWarps * sizeof(float)};
  with_type(weight, [&]<typename Weight>(const Weight* w) {
    with_type(bias, [&]<typename Bias>(const Bias* b) {
      queue.launch("layer_norm", shape, layer_norm_kernel<Weight, Bias>, rows, w, b, epsilon);
    });
  });
}

}  // namespace octet::kernels::cuda
