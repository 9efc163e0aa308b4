#include "tests/cuda_emulator/traffic.h"

namespace cuda_emulator {

void Traffic::add(uintptr_t allocation, size_t allocation_bytes, size_t offset, size_t num_bytes,
                  bool is_write) {
  std::vector<uint8_t>& seen = seen_[allocation];
  seen.resize(allocation_bytes);
  const uint8_t flag = is_write ? kWritten : kRead;
  size_t& count = is_write ? bytes_.written : bytes_.read;
  for (size_t i = offset; i < offset + num_bytes; ++i) {
    if (seen[i] & flag) continue;
    seen[i] |= flag;
    ++count;
  }
}

}  // namespace cuda_emulator
