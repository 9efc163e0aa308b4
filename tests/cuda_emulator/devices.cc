// The emulated devices: how many and of what kind, which one a thread uses, and what went wrong on them.
#include "tests/cuda_emulator/devices.h"

#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/device_memory.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/stream.h"

namespace cuda_emulator {
namespace {

thread_local int used_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

constexpr int kRuntimeVersion = 13000;
constexpr int kCapability = 90;
constexpr int kMultiprocessors = 132;
std::atomic<int> driver_version{kRuntimeVersion};
std::atomic<int> compute_capability{kCapability};
std::atomic<int> multiprocessors{kMultiprocessors};

struct Faults {
  std::mutex mutex;
  std::string first;
  std::vector<bool> broken;   // [devices]
  std::vector<bool> hanging;  // [devices]
  int calls_until_failure = 0;
  cudaError_t failure = cudaSuccess;
};
Faults& faults() {
  static Faults all;
  return all;
}

}  // namespace

int current_device() {
  return used_device;
}

cudaError_t give(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool is_broken(int device) {
  const std::lock_guard lock(faults().mutex);
  return device < static_cast<int>(faults().broken.size()) && faults().broken[static_cast<size_t>(device)];
}

bool is_hanging(int device) {
  const std::lock_guard lock(faults().mutex);
  return faults().hanging[static_cast<size_t>(device)];
}

cudaError_t enter_call(int device) {
  {
    const std::lock_guard lock(faults().mutex);
    if (faults().calls_until_failure > 0 && --faults().calls_until_failure == 0) return faults().failure;
  }
  return is_broken(device) ? cudaErrorLaunchFailure : cudaSuccess;
}

void record_fault(int device, const std::string& what) {
  const std::lock_guard lock(faults().mutex);
  if (faults().first.empty()) faults().first = what;
  faults().broken[static_cast<size_t>(device)] = true;
}

void reset_devices(int num_devices) {
  const std::lock_guard lock(faults().mutex);
  faults().first.clear();
  faults().broken.assign(static_cast<size_t>(num_devices), false);
  faults().hanging.assign(static_cast<size_t>(num_devices), false);
  faults().calls_until_failure = 0;
  used_device = 0;
  last_error = cudaSuccess;
  driver_version = kRuntimeVersion;
  compute_capability = kCapability;
  multiprocessors = kMultiprocessors;
}

void set_driver_version(int version) {
  driver_version = version;
}

void set_multiprocessors(int count) {
  multiprocessors = count;
}

void set_compute_capability(int capability) {
  compute_capability = capability;
}

void fail_call(int call, cudaError_t error) {
  const std::lock_guard lock(faults().mutex);
  faults().calls_until_failure = call;
  faults().failure = error;
}

void set_hanging(int device, bool is_hanging) {
  const std::lock_guard lock(faults().mutex);
  faults().hanging[static_cast<size_t>(device)] = is_hanging;
}

std::string first_fault() {
  const std::lock_guard lock(faults().mutex);
  return faults().first;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
  }
  return "unknown";
}

// A failed launch tells what the kernel did.
const char* cudaGetErrorString(cudaError_t error) {
  thread_local std::string text;
  text = cudaGetErrorName(error);
  if (error == cudaErrorLaunchFailure) text += ": " + first_fault();
  return text.c_str();
}

cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntimeVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  if (driver_version < kRuntimeVersion) return give(cudaErrorInsufficientDriver);
  *count = device_memory().num_devices();
  return give(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  if (device < 0 || device >= device_memory().num_devices()) return give(cudaErrorInvalidDevice);
  used_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = used_device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  if (device < 0 || device >= device_memory().num_devices()) return give(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kMaxThreads;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = multiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = compute_capability / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = compute_capability % 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(kMaxSharedBytes);
      return cudaSuccess;
  }
  return give(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t error = enter_call(); error != cudaSuccess) return give(error);
  if (device < 0 || device >= device_memory().num_devices()) return give(cudaErrorInvalidDevice);
  *properties = {"emulated GPU"};
  return cudaSuccess;
}
