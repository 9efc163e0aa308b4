#include "tests/cuda_emulator/shared_shadow.h"

namespace cuda_emulator {
namespace {

// Whether no barrier orders two accesses of different threads.
bool race(const ThreadPlace& before, const ThreadPlace& now) {
  if (before.thread == now.thread || before.interval != now.interval) return false;
  return before.warp != now.warp || before.warp_interval == now.warp_interval;
}

}  // namespace

std::optional<std::string> SharedShadow::access(size_t offset, size_t num_bytes, Access access,
                                                const ThreadPlace& place) {
  const bool is_write = access != Access::kRead;
  const bool is_atomic = access == Access::kAtomic;
  const auto at = [](size_t byte) { return "byte " + std::to_string(byte) + " of shared memory"; };
  for (size_t i = offset; i < offset + num_bytes; ++i) {
    Byte& byte = bytes_[i];
    if (byte.in_flight) {
      return (is_write ? "writes " : "reads ") + at(i) + ", which an asynchronous copy is writing";
    }
    if (access != Access::kWrite && !byte.written) return "reads " + at(i) + ", which nobody wrote";
    if (byte.written && !(is_atomic && byte.is_atomic) && race(byte.writer, place)) {
      return (is_write ? "writes " : "reads ") + at(i) + ", which thread " +
             std::to_string(byte.writer.thread) + " wrote with no barrier between";
    }
    if (is_write && byte.read && race(byte.reader, place)) {
      return "writes " + at(i) + ", which thread " + std::to_string(byte.reader.thread) +
             " read with no barrier between";
    }
    if (is_write) {
      byte.written = true;
      byte.is_atomic = is_atomic;
      byte.writer = place;
    } else {
      byte.read = true;
      byte.reader = place;
    }
  }
  return std::nullopt;
}

void SharedShadow::set_in_flight(size_t offset, size_t num_bytes, bool in_flight) {
  for (size_t i = offset; i < offset + num_bytes; ++i) bytes_[i].in_flight = in_flight;
}

}  // namespace cuda_emulator
