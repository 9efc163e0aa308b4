// An allowance that refills with time, at so much a minute, and holds a minute's worth.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace octet::router {

class TokenBucket {
 public:
  // Full at first.
  TokenBucket(double per_minute, Time now) : per_minute_(per_minute), level_(per_minute), filled_(now) {}

  // How long until it holds `amount`, at most a minute's worth; zero when it does.
  Duration wait_for(double amount, Time now) {
    fill(now);
    const double missing = std::min(amount, per_minute_) - level_;
    if (missing <= 0) return Duration::zero();
    return std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::duration<double, std::ratio<60>>(missing / per_minute_));
  }
  // Takes it even when there is less: the rest is owed. A negative amount gives back.
  void take(double amount, Time now) {
    fill(now);
    level_ = std::min(level_ - amount, per_minute_);
  }

 private:
  void fill(Time now) {
    if (now <= filled_) return;
    const double minutes = std::chrono::duration<double, std::ratio<60>>(now - filled_).count();
    level_ = std::min(level_ + minutes * per_minute_, per_minute_);
    filled_ = now;
  }

  double per_minute_;
  double level_;
  Time filled_;
};

}  // namespace octet::router
