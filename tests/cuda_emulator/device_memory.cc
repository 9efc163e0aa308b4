#include "tests/cuda_emulator/device_memory.h"

#include <cstring>

namespace cuda_emulator {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kGuard = 256;  // bytes that belong to nobody on both sides

}  // namespace

DeviceMemory& device_memory() {
  static DeviceMemory memory;
  return memory;
}

void DeviceMemory::reset(int num_devices, size_t bytes_per_device) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  entries_.clear();
  used_.assign(static_cast<size_t>(num_devices), 0);
  bytes_per_device_ = bytes_per_device;
}

size_t DeviceMemory::free_bytes(int device) const {
  const std::lock_guard lock(mutex_);
  return bytes_per_device_ - used_[static_cast<size_t>(device)];
}

size_t DeviceMemory::allocated_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t sum = 0;
  for (const size_t used : used_) sum += used;
  return sum;
}

void* DeviceMemory::allocate(int device, size_t num_bytes) {
  const std::lock_guard lock(mutex_);
  size_t& used = used_[static_cast<size_t>(device)];
  if (num_bytes > bytes_per_device_ - used) return nullptr;
  used += num_bytes;
  ++generation_;
  auto storage = std::make_unique<char[]>(num_bytes + 2 * kGuard + kAlignment);
  char* memory = storage.get() + kGuard;
  memory += (kAlignment - reinterpret_cast<uintptr_t>(memory) % kAlignment) % kAlignment;
  std::memset(memory, 0xff, num_bytes);
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  entries_[begin] = {{begin, num_bytes, device}, std::move(storage)};
  return memory;
}

bool DeviceMemory::free(void* memory) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(reinterpret_cast<uintptr_t>(memory));
  if (entry == entries_.end()) return false;
  ++generation_;
  used_[static_cast<size_t>(entry->second.allocation.device)] -= entry->second.allocation.num_bytes;
  entries_.erase(entry);
  return true;
}

std::optional<Allocation> DeviceMemory::find(uintptr_t address) const {
  thread_local Allocation recent;
  thread_local uint64_t recent_generation = 0;
  const uint64_t generation = generation_.load(std::memory_order_relaxed);
  if (generation == recent_generation && address - recent.begin < recent.num_bytes) return recent;
  const std::lock_guard lock(mutex_);
  auto after = entries_.upper_bound(address);
  if (after == entries_.begin()) return std::nullopt;
  const Allocation& allocation = std::prev(after)->second.allocation;
  if (address - allocation.begin >= allocation.num_bytes) return std::nullopt;
  recent = allocation;
  recent_generation = generation;
  return allocation;
}

std::string DeviceMemory::describe(uintptr_t address) const {
  const std::lock_guard lock(mutex_);
  const auto name = [](const Allocation& a) {
    return std::to_string(a.num_bytes) + " bytes of device " + std::to_string(a.device);
  };
  const auto after = entries_.upper_bound(address);
  if (after != entries_.begin()) {
    const Allocation& before = std::prev(after)->second.allocation;
    const size_t past = address - before.begin - before.num_bytes;
    if (past < kGuard) return std::to_string(past) + " bytes past " + name(before);
  }
  if (after != entries_.end()) {
    const Allocation& next = after->second.allocation;
    if (next.begin - address <= kGuard)
      return std::to_string(next.begin - address) + " bytes before " + name(next);
  }
  return "in no device's memory";
}

}  // namespace cuda_emulator
