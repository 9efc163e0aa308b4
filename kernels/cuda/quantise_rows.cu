// Rows of activations as fp8 E4M3 with a scale for each, for products with fp8 weights.
//
//   scales[t] = max_k |input[t, k]| / 448;  output[t, k] = fp8(input[t, k] / scales[t])
//
// Shapes     output [num_tokens, depth] fp8, packed; scales [num_tokens] fp32; input [num_tokens, depth]
//            fp32, rows may be strided.
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the row, twice.
// Precision  to nearest, ties to even: 2^-4 of an element, or 2^-10 / 448 of the row's largest if that is
//            more. A row with a NaN gets the scale NaN, a row of zeros the scale 0.
// Cost       5 * num_tokens * depth bytes (the second read hits L1 or L2): memory bound.
// Checked by tests/kernels/cuda_float8_test.cc.
#include <cuda_fp8.h>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr unsigned int kThreads = 256;
constexpr float kLargest = 448;  // of E4M3

// The larger one; a NaN if there is one, which fmaxf() would hide.
__device__ inline float larger(float a, float b) {
  return a >= b || a != a ? a : b;
}

__device__ inline float block_max(float x, float* maxima) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x = larger(x, __shfl_xor_sync(~0u, x, lanes));
  if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = x;
  __syncthreads();
  float largest = maxima[0];
  for (unsigned int warp = 1; warp < kThreads / 32; ++warp) largest = larger(largest, maxima[warp]);
  return largest;
}

__global__ __launch_bounds__(kThreads) void quantise_rows_kernel(__nv_fp8_storage_t* output, float* scales,
                                                                 const float* input, int64_t input_stride,
                                                                 int64_t depth) {
  const float* const row = input + blockIdx.x * input_stride;
  float largest = 0;
  for (int64_t k = threadIdx.x; k < depth; k += kThreads) largest = larger(fabsf(row[k]), largest);
  const float scale = block_max(largest, reinterpret_cast<float*>(octet_shared)) / kLargest;
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  for (int64_t k = threadIdx.x; k < depth; k += kThreads) {
    const float x = scale == 0 ? 0.0f : row[k] / scale;
    output[blockIdx.x * depth + k] = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  }
}

}  // namespace

void quantise_rows(Queue& queue, void* output, float* scales, Tensor input) {
  queue.launch("quantise_rows",
               {.grid = static_cast<unsigned int>(input.size(0)),
                .threads = kThreads,
                .shared_bytes = kThreads / 32 * sizeof(float)},
               quantise_rows_kernel, static_cast<__nv_fp8_storage_t*>(output), scales,
               input.data<const float>(), input.row_stride(), input.size(1));
}

}  // namespace octet::kernels::cuda
