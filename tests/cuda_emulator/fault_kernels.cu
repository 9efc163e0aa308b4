#include "tests/cuda_emulator/fault_kernels.h"

#include <octet_ptx.cuh>

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

__global__ void shared_count(unsigned long long* output) {
  auto* const total = reinterpret_cast<unsigned long long*>(octet_shared);
  if (threadIdx.x == 0) *total = 0;
  __syncthreads();
  atomicAdd(total, (1ull << 33) + threadIdx.x);
  __syncthreads();
  output[threadIdx.x] = __shfl_xor_sync(~0u, *total + threadIdx.x, 1);
}

__global__ void product(const char* a, const char* b, float* output) {
  const uint32_t shared_a = octet::ptx::shared_address(octet_shared);  // [16, 16] bf16
  const uint32_t shared_b = shared_a + 512;                            // [16, 16] bf16, the right half zero
  const unsigned int lane = threadIdx.x;
  octet::ptx::start_copy(shared_a + 16 * lane, a + 16 * lane, true);
  octet::ptx::commit_copies();
  octet::ptx::start_copy(shared_b + 16 * lane, b + 8 * lane, lane % 2 == 0);
  octet::ptx::commit_copies();
  octet::ptx::wait_copies<1>();
  __syncwarp();
  uint32_t fragment[4];
  octet::ptx::load_matrices(fragment, shared_a + 32 * (lane % 16) + 16 * (lane / 16));
  octet::ptx::wait_copies<0>();
  __syncwarp();
  uint32_t columns[4];
  octet::ptx::load_matrices_transposed(columns, shared_b + 32 * (lane % 16) + 16 * (lane / 16));
  float d[4] = {};
  octet::ptx::mma_bf16(d, fragment, columns[0], columns[1]);
  float zero[4] = {};
  octet::ptx::mma_bf16(zero, fragment, columns[2], columns[3]);
  for (unsigned int i = 0; i < 4; ++i) {
    output[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i] + zero[i];
  }
}

__global__ void write_one(float* data) {
  data[0] = 1;
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
    case Fault::kRacesWithAtomics: {
      auto* const total = reinterpret_cast<int*>(octet_shared);
      if (i == 0) *total = 0;
      __syncthreads();
      atomicAdd(total, 1);
      data[i] = static_cast<float>(*total);
      break;
    }
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
    case Fault::kReadsACopyTooEarly:
      if (i == 0) {
        octet::ptx::start_copy(octet::ptx::shared_address(shared), data, true);
        octet::ptx::commit_copies();
        octet::ptx::start_copy(octet::ptx::shared_address(shared + 4), data, true);
        octet::ptx::commit_copies();
        octet::ptx::wait_copies<1>();
        data[0] = shared[0];
        data[1] = shared[4];
      }
      break;
    case Fault::kWritesUnderACopy:
      if (i == 0) {
        octet::ptx::start_copy(octet::ptx::shared_address(shared), data, true);
        octet::ptx::commit_copies();
      }
      __syncthreads();
      if (i == 1) shared[2] = 1;
      __syncthreads();
      octet::ptx::wait_copies<0>();
      break;
    case Fault::kReadsACopyOfAnother:
      if (i == 0) octet::ptx::start_copy(octet::ptx::shared_address(shared), data, true);
      octet::ptx::commit_copies();
      octet::ptx::wait_copies<0>();
      if (i == 1) data[0] = shared[0];
      break;
    case Fault::kEndsBeforeItsCopies:
      if (i == 0) octet::ptx::start_copy(octet::ptx::shared_address(shared), data, true);
      break;
    case Fault::kMatricesOfHalfAWarp:
      shared[i] = 1;
      __syncthreads();
      if (i % 32 < 16) {
        uint32_t registers[4];
        octet::ptx::load_matrices(registers, octet::ptx::shared_address(shared));
      }
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

cudaError_t launch_shared_count(cudaStream_t stream, unsigned int threads, unsigned long long* output) {
  cudaLaunchConfig_t config;
  config.gridDim = 1;
  config.blockDim = threads;
  config.dynamicSmemBytes = sizeof(unsigned long long);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, shared_count, output);
}

cudaError_t launch_count(cudaStream_t stream, dim3 grid, unsigned int threads, int* output) {
  cudaLaunchConfig_t config;
  config.gridDim = grid;
  config.blockDim = threads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, count, output);
}

cudaError_t launch_product(cudaStream_t stream, const void* a, const void* b, float* output) {
  cudaLaunchConfig_t config;
  config.gridDim = 1;
  config.blockDim = 32;
  config.dynamicSmemBytes = 1024;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, product, static_cast<const char*>(a), static_cast<const char*>(b),
                            output);
}

cudaError_t launch_with_shared(cudaStream_t stream, size_t num_bytes, float* data) {
  cudaLaunchConfig_t config;
  config.gridDim = 1;
  config.blockDim = 1;
  config.dynamicSmemBytes = num_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, write_one, data);
}

cudaError_t allow_shared(int num_bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(write_one),
                              cudaFuncAttributeMaxDynamicSharedMemorySize, num_bytes);
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
