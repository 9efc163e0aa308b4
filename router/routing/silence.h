// Whether a peer has been silent for too long, by ticks of a timer instead of a clock.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace octet::router {

// A process that was stopped itself, as a debugger, a suspended machine or a busy host do it, counts one tick
// for all of that time, and hears what the peer has said meanwhile before the next.
class Silence {
 public:
  static constexpr uint32_t kTicks = 16;
  // Between two ticks. The silence is noticed within one of them after the timeout.
  static Duration period(Duration timeout) { return timeout / kTicks; }

  void news() { num_ticks_ = 0; }
  // Returns whether it has been too long.
  bool tick() { return ++num_ticks_ > kTicks; }

 private:
  uint32_t num_ticks_ = 0;  // since the news
};

}  // namespace octet::router
