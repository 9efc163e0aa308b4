#include "tests/cuda_emulator/fault_kernels.h"

extern __shared__ char octet_shared[];

namespace cuda_emulator {
namespace {

__global__ void block_sum(const float* input, float* output) {
  auto* const sums = reinterpret_cast<float*>(octet_shared);  // [warps]
  const unsigned int i = threadIdx.x;
  float sum = input[i];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
  if (i % 32 == 0) sums[i / 32] = sum;
  __syncthreads();
  float total = 0;
  for (unsigned int warp = 0; warp < blockDim.x / 32; ++warp) total += sums[warp];
  output[i] = total;
}

__global__ void count(int* output) {
  atomicAdd(output + blockIdx.y * gridDim.x + blockIdx.x, 1);
}

__global__ void faulty(Fault fault, float* data) {
  auto* const shared = reinterpret_cast<float*>(octet_shared);  // [blockDim.x]
  const unsigned int i = threadIdx.x;
  const unsigned int last = blockDim.x - 1;
  switch (fault) {
    case Fault::kNone:
      data[i] = 1;
      break;
    case Fault::kWritesPastTheEnd:
      data[i + 1] = 1;
      break;
    case Fault::kReadsBeforeTheStart:
      data[i] = data[static_cast<int>(i) - 1];
      break;
    case Fault::kReadsFreedOrHostMemory:
      data[i] += 1;
      break;
    case Fault::kReadsSharedUnwritten:
      if (i != 3) shared[i] = 1;
      __syncthreads();
      data[i] = shared[i];
      break;
    case Fault::kReadsSharedPastTheEnd:
      shared[i] = 1;
      data[i] = shared[i + (i == last ? 1 : 0)];
      break;
    case Fault::kRacesOverShared:
      shared[i] = 1;
      data[i] = shared[i > 0 ? i - 1 : 0];
      break;
    case Fault::kRacesByWriting:
      shared[0] = data[i];
      break;
    case Fault::kDivergentBarrier:
      if (i != last) __syncthreads();
      break;
    case Fault::kTwoBarriers:
      if (i == last) {
        __syncthreads();
      } else {
        __syncthreads();
      }
      break;
    case Fault::kIncompleteShuffle:
      if (i != 5) data[i] = __shfl_xor_sync(~0u, 1.0f, 1);
      break;
    case Fault::kMisalignedVector:
      *reinterpret_cast<float4*>(data + 1) = float4{1, 2, 3, 4};
      break;
  }
}

}  // namespace

cudaError_t launch_block_sum(cudaStream_t stream, unsigned int threads, const float* input, float* output) {
  cudaLaunchConfig_t config;
  config.gridDim = 1;
  config.blockDim = threads;
  config.dynamicSmemBytes = threads / 32 * sizeof(float);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, block_sum, input, output);
}

cudaError_t launch_count(cudaStream_t stream, dim3 grid, unsigned int threads, int* output) {
  cudaLaunchConfig_t config;
  config.gridDim = grid;
  config.blockDim = threads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, count, output);
}

cudaError_t launch_fault(cudaStream_t stream, unsigned int threads, Fault fault, float* data) {
  cudaLaunchConfig_t config;
  config.gridDim = 1;
  config.blockDim = threads;
  config.dynamicSmemBytes = threads * sizeof(float);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, faulty, fault, data);
}

}  // namespace cuda_emulator
