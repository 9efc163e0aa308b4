// The bytes of device memory that one kernel touches, each counted once however many threads and blocks do:
// what has to come from and go to DRAM when caches are as large as can be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace cuda_emulator {

struct TrafficBytes {
  size_t read = 0;
  size_t written = 0;
};

class Traffic {
 public:
  // An access inside the allocation that begins there.
  void add(uintptr_t allocation, size_t allocation_bytes, size_t offset, size_t num_bytes, bool is_write);
  TrafficBytes bytes() const { return bytes_; }

 private:
  static constexpr uint8_t kRead = 1;
  static constexpr uint8_t kWritten = 2;
  std::unordered_map<uintptr_t, std::vector<uint8_t>> seen_;  // of each byte
  TrafficBytes bytes_;
};

}  // namespace cuda_emulator
