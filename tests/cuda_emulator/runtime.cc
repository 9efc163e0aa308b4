// The calls of cuda_runtime.h about memory, streams, events and graphs, and how a kernel's grid is run.
#include "tests/cuda_emulator/include/cuda_runtime.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/device_memory.h"
#include "tests/cuda_emulator/devices.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/stream.h"

// Work in order.
struct CUstream_st {
  int device = 0;
  std::recursive_mutex mutex;  // of work, and held while it is done
  std::deque<cuda_emulator::Work> work;
  std::optional<std::deque<cuda_emulator::Work>> captured;  // while it is captured
};

struct CUevent_st {
  int device = 0;
  cudaStream_t stream = nullptr;                              // once it was recorded
  std::shared_ptr<std::atomic<bool>> has_happened = nullptr;  // of the last time
};

struct CUgraph_st {
  int device = 0;
  std::deque<cuda_emulator::Work> work;
};
struct CUgraphExec_st {
  CUgraph_st graph;
};

namespace cuda_emulator {
namespace {

thread_local int num_captures = 0;  // begun on this thread and not ended

std::atomic<int> graph_launches{0};
std::atomic<size_t> downloaded{0};

// Of start_counting(), while it counts.
std::optional<Traffic>& traffic() {
  static std::optional<Traffic> traffic;
  return traffic;
}

// All streams that there are.
struct Streams {
  std::mutex mutex;
  std::set<cudaStream_t> all;
};
Streams& streams() {
  static Streams streams;
  return streams;
}

void run_grid(Kernel kernel) {
  kernel.traffic = traffic() ? &*traffic() : nullptr;
  for (unsigned int z = 0; z < kernel.grid.z; ++z) {
    for (unsigned int y = 0; y < kernel.grid.y; ++y) {
      for (unsigned int x = 0; x < kernel.grid.x; ++x) {
        Block block(kernel, {x, y, z});
        if (const auto fault = block.run()) return record_fault(kernel.device, *fault);
      }
    }
  }
}

// Does work until there is none, or some that waits for another device; whether there is none. Work after a
// kernel's fault is not done, as on the device.
bool advance(cudaStream_t stream) {
  const std::lock_guard lock(stream->mutex);
  while (!stream->work.empty()) {
    if (is_hanging(stream->device)) return false;
    if (!is_broken(stream->device) && !stream->work.front()()) return false;
    stream->work.pop_front();
  }
  return true;
}

void finish(cudaStream_t stream) {
  while (!advance(stream)) std::this_thread::yield();
}

bool valid(const dim3& grid, const dim3& block, size_t shared_bytes) {
  const uint64_t num_threads = uint64_t{block.x} * block.y * block.z;
  return num_threads >= 1 && num_threads <= kMaxThreads && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
         grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 &&
         shared_bytes <= kMaxSharedBytes;
}

// Shared memory that kernels may ask for, where it is more than what all may.
struct SharedLimits {
  std::mutex mutex;
  std::map<const void*, size_t> of_kernel;
};
SharedLimits& shared_limits() {
  static SharedLimits limits;
  return limits;
}
size_t shared_limit(const void* kernel) {
  const std::lock_guard lock(shared_limits().mutex);
  const auto found = shared_limits().of_kernel.find(kernel);
  return found == shared_limits().of_kernel.end() ? kDefaultSharedBytes : found->second;
}

// Host memory, or an allocation that holds all of it.
bool valid_memory(const void* memory, size_t num_bytes) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const auto allocation = device_memory().find(address);
  return !allocation || address - allocation->begin + num_bytes <= allocation->num_bytes;
}

}  // namespace

void add_work(cudaStream_t stream, std::function<void()> work) {
  add_work(stream, Work([work = std::move(work)] {
             work();
             return true;
           }));
}

void add_work(cudaStream_t stream, Work work) {
  const std::lock_guard lock(stream->mutex);
  (stream->captured ? *stream->captured : stream->work).push_back(std::move(work));
}

int device_of(cudaStream_t stream) {
  return stream->device;
}

void reset(int num_devices, size_t bytes_per_device) {
  device_memory().reset(num_devices, bytes_per_device);
  reset_devices(num_devices);
  graph_launches = 0;
  downloaded = 0;
  set_nccl_state(ncclSuccess);
}

size_t downloaded_bytes() {
  return downloaded;
}

void start_counting() {
  traffic().emplace();
}

TrafficBytes counted_bytes() {
  const TrafficBytes bytes = traffic()->bytes();
  traffic().reset();
  return bytes;
}

int num_graph_launches() {
  return graph_launches;
}

size_t allocated_bytes() {
  return device_memory().allocated_bytes();
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel_function, std::shared_ptr<void> call,
                   size_t num_bytes, void (*run)(void* call)) {
  if (config.stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = enter_call(config.stream->device); error != cudaSuccess) return give(error);
  if (!valid(config.gridDim, config.blockDim, config.dynamicSmemBytes))
    return give(cudaErrorInvalidConfiguration);
  if (config.dynamicSmemBytes > shared_limit(kernel_function)) return give(cudaErrorInvalidValue);
  Kernel kernel = {.grid = config.gridDim,
                   .block = config.blockDim,
                   .shared_bytes = config.dynamicSmemBytes,
                   .device = config.stream->device,
                   .call = call.get(),
                   .call_bytes = num_bytes,
                   .run = run};
  add_work(config.stream, [kernel, call = std::move(call)] { run_grid(kernel); });
  return cudaSuccess;
}

int lane() {
  return current_block()->lane();
}
uint32_t exchange(unsigned int mask, uint32_t bits, int source, const Where& where) {
  return current_block()->exchange(mask, bits, source, where);
}
unsigned int vote(unsigned int mask, bool predicate, const Where& where) {
  return current_block()->vote(mask, predicate, where);
}
void synchronize_warp(unsigned int mask, const Where& where) {
  current_block()->synchronize_warp(mask, where);
}
void synchronize_block(const Where& where) {
  current_block()->synchronize(where);
}
bool synchronize_block_or(bool predicate, const Where& where) {
  return current_block()->synchronize_or(predicate, where);
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

namespace {

// Threads take turns, so reading and writing is one step.
template <typename T>
T add_atomically(T* memory, T value) {
  current_block()->check_access(reinterpret_cast<uintptr_t>(memory), sizeof(T), Access::kAtomic, sizeof(T));
  const T old = *memory;
  *memory = old + value;
  return old;
}

}  // namespace

int atomicAdd(int* memory, int value) {
  return add_atomically(memory, value);
}
unsigned int atomicAdd(unsigned int* memory, unsigned int value) {
  return add_atomically(memory, value);
}
unsigned long long atomicAdd(unsigned long long* memory, unsigned long long value) {
  return add_atomically(memory, value);
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > kMaxSharedBytes) return give(cudaErrorInvalidValue);
  const std::lock_guard lock(shared_limits().mutex);
  shared_limits().of_kernel[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  *free_bytes = device_memory().free_bytes(current_device());
  *total_bytes = device_memory().bytes_per_device();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t num_bytes) {
  *memory = nullptr;
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  if (num_captures > 0) return give(cudaErrorStreamCaptureUnsupported);
  if (num_bytes == 0) return cudaSuccess;
  *memory = device_memory().allocate(current_device(), num_bytes);
  return give(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  if (const auto allocation = device_memory().find(reinterpret_cast<uintptr_t>(memory))) {
    // Not under the lock: the work may wait for another device's.
    std::vector<cudaStream_t> all;
    {
      const std::lock_guard lock(streams().mutex);
      all.assign(streams().all.begin(), streams().all.end());
    }
    for (const cudaStream_t stream : all) {
      if (stream->device == allocation->device) finish(stream);
    }
  }
  const bool freed = device_memory().free(memory);
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  return give(freed ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  *stream = new CUstream_st;
  (*stream)->device = current_device();
  const std::lock_guard lock(streams().mutex);
  streams().all.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  finish(stream);
  {
    const std::lock_guard lock(streams().mutex);
    streams().all.erase(stream);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (stream->captured) return give(cudaErrorStreamCaptureUnsupported);
  finish(stream);
  return give(is_broken(stream->device) ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (stream->captured) return give(cudaErrorStreamCaptureUnsupported);
  if (!advance(stream)) return cudaErrorNotReady;
  return give(is_broken(stream->device) ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t num_bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (!valid_memory(to, num_bytes) || !valid_memory(from, num_bytes)) return give(cudaErrorInvalidValue);
  if (kind == cudaMemcpyDeviceToHost) downloaded += num_bytes;
  add_work(stream, [=] { std::memcpy(to, from, num_bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t num_bytes, cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (!device_memory().find(reinterpret_cast<uintptr_t>(memory)) || !valid_memory(memory, num_bytes)) {
    return give(cudaErrorInvalidValue);
  }
  add_work(stream, [=] { std::memset(memory, value, num_bytes); });
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t num_bytes) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  *memory = std::malloc(num_bytes);
  return give(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  *event = new CUevent_st{current_device()};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (event->device != stream->device) return give(cudaErrorInvalidValue);
  event->stream = stream;
  event->has_happened = std::make_shared<std::atomic<bool>>(false);
  add_work(stream, std::function<void()>([happened = event->has_happened] { *happened = true; }));
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = enter_call(event->device); error != cudaSuccess) return give(error);
  if (event->has_happened == nullptr || *event->has_happened) return cudaSuccess;
  const bool is_done = advance(event->stream) || *event->has_happened;
  if (is_broken(event->device)) return give(cudaErrorLaunchFailure);
  return is_done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  const std::lock_guard lock(stream->mutex);
  if (stream->captured) return give(cudaErrorStreamCaptureUnsupported);
  stream->captured.emplace();
  ++num_captures;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  const std::lock_guard lock(stream->mutex);
  if (!stream->captured) return give(cudaErrorInvalidValue);
  *graph = new CUgraph_st{stream->device, *std::move(stream->captured)};
  stream->captured.reset();
  --num_captures;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t error = enter_call(graph->device); error != cudaSuccess) return give(error);
  *executable = new CUgraphExec_st{*graph};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t error = enter_call(stream->device); error != cudaSuccess) return give(error);
  if (executable->graph.device != stream->device) return give(cudaErrorInvalidValue);
  for (const Work& work : executable->graph.work) add_work(stream, work);
  ++graph_launches;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
