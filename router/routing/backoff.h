// How long to wait before something is tried again, spread so that many who failed together do not come back
// together.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace octet::router {

// At least half of `longest`, the rest random. random: 64 random bits.
inline Duration half_random(Duration longest, uint64_t random) {
  const double part = 0.5 + 0.5 * static_cast<double>(random >> 11) * 0x1p-53;
  return std::chrono::duration_cast<Duration>(longest * part);
}

struct Backoff {
  Duration min = std::chrono::milliseconds(50);
  Duration max = std::chrono::seconds(2);

  // Before the num-th attempt after the first, from 1: up to min * 2^(num - 1) or max, and half of it is
  // random. random: 64 random bits.
  Duration delay(uint32_t num, uint64_t random) const {
    return half_random(std::min(max, min * (int64_t{1} << std::min(num - 1, 20U))), random);
  }
};

}  // namespace octet::router
