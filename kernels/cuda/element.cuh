// Elements of tensors as fp32 and back, and sums over a block.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/tensor.h"

// The dynamic shared memory of every kernel.
extern __shared__ char octet_shared[];

namespace octet::kernels::cuda {

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
// To nearest, ties to even.
template <typename Element>
__device__ Element round_to(float x);
template <>
__device__ inline float round_to<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 round_to<__nv_bfloat16>(float x) {
  return __float2bfloat16(x);
}

// Calls function with the elements of a tensor in bf16 or fp32.
template <typename Function>
void with_type(const Tensor& tensor, const Function& function) {
  if (tensor.dtype() == DType::kBFloat16) {
    function(tensor.data<__nv_bfloat16>());
  } else {
    function(tensor.data<float>());
  }
}

__device__ inline float warp_sum(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

// The sum of every thread's x, on every thread; the block is whole warps. sums: [warps] of shared memory,
// free again after the next barrier. The order of additions depends on the block's size only.
__device__ inline float block_sum(float x, float* sums) {
  const float sum = warp_sum(x);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = 0;
  for (unsigned int warp = 0; warp < blockDim.x / 32; ++warp) total += sums[warp];
  return total;
}

}  // namespace octet::kernels::cuda
