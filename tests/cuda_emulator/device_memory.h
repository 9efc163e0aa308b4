// The allocations of all emulated devices.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace cuda_emulator {

struct Allocation {
  uintptr_t begin = 0;
  size_t num_bytes = 0;
  int device = 0;
};

class DeviceMemory {
 public:
  void reset(int num_devices, size_t bytes_per_device);

  int num_devices() const { return static_cast<int>(used_.size()); }
  size_t free_bytes(int device) const;
  size_t bytes_per_device() const { return bytes_per_device_; }
  size_t allocated_bytes() const;

  // Memory filled with 0xff, which is a NaN in every type: who reads what nobody wrote sees it. nullptr if
  // the device has not so much left.
  void* allocate(int device, size_t num_bytes);
  // Whether it was allocated.
  bool free(void* memory);
  // The allocation that holds address; else nothing. Fast where a thread asks for the same one again.
  std::optional<Allocation> find(uintptr_t address) const;
  // Where an address outside every allocation lies: "8 bytes past 64 bytes of device 0".
  std::string describe(uintptr_t address) const;

 private:
  struct Entry {
    Allocation allocation;
    std::unique_ptr<char[]> storage;
  };
  mutable std::mutex mutex_;
  std::atomic<uint64_t> generation_{1};  // rises with every change
  std::map<uintptr_t, Entry> entries_;   // by their begin
  std::vector<size_t> used_;             // [num_devices] bytes
  size_t bytes_per_device_ = 0;
};

DeviceMemory& device_memory();

}  // namespace cuda_emulator
