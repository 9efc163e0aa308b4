// The part of the CUDA runtime and of CUDA C++ that Octet uses, for a host compiler: see ../README.md. Names,
// values and meanings are CUDA's.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Dynamic shared memory is one array for the blocks that a host thread runs one after the other.
#define __shared__ __thread

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned int x_, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned int x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) uint2 {
  unsigned int x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned int cudaStreamNonBlocking = 1;
typedef struct CUstream_st* cudaStream_t;

// Such as 13000; of a driver that is not there 0.
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
struct cudaDeviceProp {
  char name[256];
};
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaGetLastError();

cudaError_t cudaMalloc(void** memory, size_t num_bytes);
// Waits for the device's streams first.
cudaError_t cudaFree(void* memory);
// Work of a stream runs when the host waits for it, not before: a host that does not wait reads old memory.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
// Pinned memory of the host.
cudaError_t cudaMallocHost(void** memory, size_t num_bytes);
cudaError_t cudaFreeHost(void* memory);

typedef struct CUevent_st* cudaEvent_t;
constexpr unsigned int cudaEventDisableTiming = 2;
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
// As cudaStreamQuery() of what was on the stream when the event was last recorded.
cudaError_t cudaEventQuery(cudaEvent_t event);

// Does what it can of the stream's work; cudaErrorNotReady when the rest waits for another device.
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t num_bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t num_bytes, cudaStream_t stream);

// A launch that asks for more than 48 KiB of shared memory fails unless this came first.
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

// Of what is put on a stream: between begin and end it is kept, not done. Waiting for the stream meanwhile,
// and allocating memory on the thread, fails.
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
typedef struct CUgraph_st* cudaGraph_t;
typedef struct CUgraphExec_st* cudaGraphExec_t;
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned int numAttrs = 0;
};

namespace cuda_emulator {

// A place in the source; as a default argument, that of the call.
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// Queues a kernel. call: the kernel and its arguments, num_bytes in all; run(call) runs one thread of it.
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::shared_ptr<void> call,
                   size_t num_bytes, void (*run)(void* call));

// Exchanges 4 bytes between the lanes of `mask`; every lane gives its bits and gets those of lane `source`.
uint32_t exchange(unsigned int mask, uint32_t bits, int source, const Where& where);
unsigned int vote(unsigned int mask, bool predicate, const Where& where);  // the ballot
void synchronize_warp(unsigned int mask, const Where& where);
void synchronize_block(const Where& where);
bool synchronize_block_or(bool predicate, const Where& where);  // whether any thread's predicate holds
int lane();

template <typename T>
T exchange_value(unsigned int mask, T value, int source, const Where& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  uint32_t words[sizeof(T) / 4];
  __builtin_memcpy(words, &value, sizeof(T));
  for (uint32_t& word : words) word = exchange(mask, word, source, where);
  __builtin_memcpy(&value, words, sizeof(T));
  return value;
}

}  // namespace cuda_emulator

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  auto call =
      std::make_shared<Call>(kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...));
  return cuda_emulator::launch(*config, reinterpret_cast<const void*>(kernel), std::move(call), sizeof(Call),
                               [](void* memory) {
                                 const Call& c = *static_cast<Call*>(memory);
                                 std::apply(c.kernel, c.arguments);
                               });
}

// Of the running thread.
extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim;
extern __thread dim3 gridDim;
constexpr int warpSize = 32;

inline void __syncthreads(cuda_emulator::Where where = cuda_emulator::Where::here()) {
  cuda_emulator::synchronize_block(where);
}
inline int __syncthreads_or(int predicate, cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::synchronize_block_or(predicate != 0, where) ? 1 : 0;
}
inline void __syncwarp(unsigned int mask = ~0u, cuda_emulator::Where where = cuda_emulator::Where::here()) {
  cuda_emulator::synchronize_warp(mask, where);
}
template <typename T>
T __shfl_sync(unsigned int mask, T value, int source,
              cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::exchange_value(mask, value, source & 31, where);
}
template <typename T>
T __shfl_xor_sync(unsigned int mask, T value, int lanes,
                  cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::exchange_value(mask, value, cuda_emulator::lane() ^ lanes, where);
}
template <typename T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int lanes,
                   cuda_emulator::Where where = cuda_emulator::Where::here()) {
  const int source = cuda_emulator::lane() + static_cast<int>(lanes);
  return cuda_emulator::exchange_value(mask, value, source < 32 ? source : cuda_emulator::lane(), where);
}
inline unsigned int __ballot_sync(unsigned int mask, int predicate,
                                  cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::vote(mask, predicate != 0, where);
}
inline int __any_sync(unsigned int mask, int predicate,
                      cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::vote(mask, predicate != 0, where) != 0;
}
inline int __all_sync(unsigned int mask, int predicate,
                      cuda_emulator::Where where = cuda_emulator::Where::here()) {
  return cuda_emulator::vote(mask, predicate != 0, where) == mask;
}
int atomicAdd(int* memory, int value);
unsigned int atomicAdd(unsigned int* memory, unsigned int value);
unsigned long long atomicAdd(unsigned long long* memory, unsigned long long value);
inline unsigned int __float_as_uint(float x) {
  unsigned int bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
// One more than the index of the lowest bit that is set; 0 without one.
inline int __ffs(int bits) {
  return __builtin_ffs(bits);
}
// Each is rounded once, and never fused with another: compile with -ffp-contract=off.
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline double __dmul_rn(double a, double b) {
  return a * b;
}
inline double __dadd_rn(double a, double b) {
  return a + b;
}
