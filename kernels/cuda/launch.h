// How a kernel is started, and what a failing CUDA call does: it stops the process, for memory and state of
// the device are then unknown.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "base/check.h"

namespace octet::kernels::cuda {

inline void check(cudaError_t error, const char* what) {
  OCTET_CHECK(error == cudaSuccess, what, ": ", cudaGetErrorString(error));
}

// What a block gets of shared memory without asking for more.
constexpr size_t kDefaultSharedBytes = 48 * 1024;

// Blocks, threads of each, and dynamic shared memory of each in bytes: the plan of a launch.
struct LaunchShape {
  dim3 grid;
  unsigned int threads = 256;
  size_t shared_bytes = 0;
};

template <typename... Parameters, typename... Arguments>
void launch(const char* name, cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  if (shape.shared_bytes > kDefaultSharedBytes) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          name);
  }
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), name);
}

}  // namespace octet::kernels::cuda
