// How a kernel is started, and what a failing CUDA call does: it stops the process, for memory and state of
// the device are then unknown.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace octet::kernels::cuda {

inline void check(cudaError_t error, const char* what) {
  OCTET_CHECK(error == cudaSuccess, what, ": ", cudaGetErrorString(error));
}

// Of a cudaStreamQuery() or cudaEventQuery().
inline bool is_ready(cudaError_t state, const char* what) {
  if (state != cudaErrorNotReady) check(state, what);
  return state == cudaSuccess;
}

// What a block gets of shared memory without asking for more.
constexpr size_t kDefaultSharedBytes = 48 * 1024;

// Blocks, threads of each, and dynamic shared memory of each in bytes: the plan of a launch.
struct LaunchShape {
  dim3 grid;
  unsigned int threads = 256;
  size_t shared_bytes = 0;
};

// A stream, or for a while in its place a fingerprint: of a step that is run dry, what it would put on the
// stream. Steps with the same fingerprint put the same there, up to what is in memory.
class Queue {
 public:
  explicit Queue(cudaStream_t stream) : stream_(stream) {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  cudaStream_t stream() const { return stream_; }

  template <typename... Parameters, typename... Arguments>
  void launch(const char* name, const LaunchShape& shape, void (*kernel)(Parameters...),
              Arguments&&... arguments) {
    if (notes(kernel, shape.grid.x, shape.grid.y, shape.grid.z, shape.threads, shape.shared_bytes,
              static_cast<const Parameters&>(arguments)...)) {
      return;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = shape.grid;
    config.blockDim = dim3(shape.threads);
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = stream_;
    if (shape.shared_bytes > kDefaultSharedBytes) {
      check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.shared_bytes)),
            name);
    }
    check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), name);
  }

  // What is about to be put on the stream: true if it is not to be, in a dry run. Whatever a library puts
  // there comes after one of these.
  template <typename... Values>
  bool notes(const Values&... values) {
    if (is_dry_) (mix(values), ...);
    return is_dry_;
  }

  void start_dry_run() {
    is_dry_ = true;
    fingerprint_ = kOffsetBasis;
  }
  uint64_t end_dry_run() {
    is_dry_ = false;
    return fingerprint_;
  }

 private:
  // FNV-1a, of 64 bits: http://www.isthe.com/chongo/tech/comp/fnv
  static constexpr uint64_t kOffsetBasis = 14695981039346656037u;
  static constexpr uint64_t kPrime = 1099511628211u;

  // Padding between the members of a value would make equal ones differ: then graphs are not found again.
  template <typename Value>
  void mix(const Value& value) {
    static_assert(std::is_trivially_copyable_v<Value>);
    unsigned char bytes[sizeof(Value)];
    std::memcpy(bytes, &value, sizeof(Value));
    for (const unsigned char byte : bytes) fingerprint_ = (fingerprint_ ^ byte) * kPrime;
  }

  const cudaStream_t stream_;
  bool is_dry_ = false;
  uint64_t fingerprint_ = 0;
};

}  // namespace octet::kernels::cuda
