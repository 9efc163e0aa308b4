// Matrix product with a weight as the checkpoint has it: nothing is rounded on the way. It is the exact path,
// not the fast one; the fast one will multiply packed weights on tensor cores.
//
//   output[t, n] = epilogue(sum_k input[t, k] * weight[n, k])
//
// Shapes     output [num_tokens, num_columns], input [num_tokens, depth] fp32; weight [num_columns,
//            depth] bf16 or fp32; rows may be strided.
// Mapping    grid (num_tokens, num_columns / 8), block (256): a warp computes one element, its lanes
//            every 32nd product, which neighbouring lanes load together.
// Precision  a lane's fused multiply-adds in order of depth, then the lanes by a butterfly. So an
//            element's bits depend on its row and column only.
// Cost       4 * num_tokens * (depth + num_columns) bytes and the weight's; but each token reads the
//            whole weight, from L2 where it fits.
// Checked by tests/kernels/linear_test.cc, its bytes by cuda_cost_test.cc.
#include <algorithm>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr unsigned int kThreads = 256;
constexpr unsigned int kColumnsAtOnce = kThreads / 32;
constexpr int64_t kMaxGridY = 65535;

struct Product {
  float* output;
  const float* input;
  int64_t output_stride;
  int64_t input_stride;
  int64_t weight_stride;
  int64_t num_columns;
  int64_t depth;
  bool squared_relu;
};

template <typename Weight>
__global__ __launch_bounds__(kThreads) void linear_kernel(Product product, const Weight* weight) {
  const float* const row = product.input + blockIdx.x * product.input_stride;
  const unsigned int lane = threadIdx.x % 32;
  const int64_t step = int64_t{gridDim.y} * kColumnsAtOnce;
  for (int64_t n = int64_t{blockIdx.y} * kColumnsAtOnce + threadIdx.x / 32; n < product.num_columns;
       n += step) {
    const Weight* const column = weight + n * product.weight_stride;
    float sum = 0;
    for (int64_t k = lane; k < product.depth; k += 32) sum = fmaf(row[k], to_float(column[k]), sum);
    sum = warp_sum(sum);
    if (product.squared_relu) {
      sum = sum < 0 ? 0.0f : sum;  // keeps a NaN visible
      sum *= sum;
    }
    if (lane == 0) product.output[blockIdx.x * product.output_stride + n] = sum;
  }
}

}  // namespace

void linear(Queue& queue, Tensor output, Tensor input, Tensor weight, Epilogue epilogue) {
  const Product product = {.output = output.data<float>(),
                           .input = input.data<const float>(),
                           .output_stride = output.row_stride(),
                           .input_stride = input.row_stride(),
                           .weight_stride = weight.row_stride(),
                           .num_columns = weight.size(0),
                           .depth = weight.size(1),
                           .squared_relu = epilogue == Epilogue::kSquaredRelu};
  const int64_t columns = std::min((product.num_columns + kColumnsAtOnce - 1) / kColumnsAtOnce, kMaxGridY);
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned int>(input.size(0)), static_cast<unsigned int>(columns)),
      .threads = kThreads};
  with_type(weight, [&]<typename Weight>(const Weight* elements) {
    queue.launch("linear", shape, linear_kernel<Weight>, product, elements);
  });
}

}  // namespace octet::kernels::cuda
