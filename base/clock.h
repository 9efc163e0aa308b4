// The clock of deadlines and durations: monotonic, and passed in as a value where logic depends on it.
#pragma once

#include <chrono>
#include <cstdint>

namespace octet {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Duration = Clock::duration;

inline Time now() {
  return Clock::now();
}
inline double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
inline uint64_t nanoseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(d).count());
}
inline constexpr Time kNoDeadline = Time::max();

}  // namespace octet
